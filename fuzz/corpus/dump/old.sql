--
-- PostgreSQL database dump
--

SET standard_conforming_strings = off;
select '\';';

--
-- Data for Name: t; Type: TABLE DATA; Schema: app; Owner: me
--

COPY app.t (a, b) FROM stdin;
1	\\.
\N	x
\.


COPY app.none  FROM stdin;


\.


--
-- PostgreSQL database dump complete
--

