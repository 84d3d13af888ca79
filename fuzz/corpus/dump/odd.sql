--
-- PostgreSQL database dump
--

\restrict zcoQPcOZzWjNBkDFtC09DOJIV2KksiTDML5g0Iqb6gz0JntyRI8TwjDWW2ppwqu

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: We ird; Type: SCHEMA; Schema: -; Owner: postgres
--

CREATE SCHEMA "We ird";


ALTER SCHEMA "We ird" OWNER TO postgres;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: parent; Type: TABLE; Schema: We ird; Owner: postgres
--

CREATE TABLE "We ird".parent (
    b integer,
    a text
);


ALTER TABLE "We ird".parent OWNER TO postgres;

--
-- Name: child; Type: TABLE; Schema: We ird; Owner: postgres
--

CREATE TABLE "We ird".child (
    c integer
)
INHERITS ("We ird".parent);


ALTER TABLE "We ird".child OWNER TO postgres;

--
-- Name: mv; Type: MATERIALIZED VIEW; Schema: We ird; Owner: postgres
--

CREATE MATERIALIZED VIEW "We ird".mv AS
 SELECT 1 AS a
  WITH NO DATA;


ALTER TABLE "We ird".mv OWNER TO postgres;

--
-- Name: none; Type: TABLE; Schema: We ird; Owner: postgres
--

CREATE TABLE "We ird"."none" (
);


ALTER TABLE "We ird"."none" OWNER TO postgres;

--
-- Name: sel"ect; Tbl; Type: TABLE; Schema: We ird; Owner: postgres
--

CREATE TABLE "We ird"."sel""ect; Tbl" (
    "col um'n" text,
    "naïve_表" bytea
);


ALTER TABLE "We ird"."sel""ect; Tbl" OWNER TO postgres;

--
-- Data for Name: child; Type: TABLE DATA; Schema: We ird; Owner: postgres
--

COPY "We ird".child (b, a, c) FROM stdin;
1	x	2
\.


--
-- Data for Name: none; Type: TABLE DATA; Schema: We ird; Owner: postgres
--

COPY "We ird"."none"  FROM stdin;

\.


--
-- Data for Name: parent; Type: TABLE DATA; Schema: We ird; Owner: postgres
--

COPY "We ird".parent (b, a) FROM stdin;
\.


--
-- Data for Name: sel"ect; Tbl; Type: TABLE DATA; Schema: We ird; Owner: postgres
--

COPY "We ird"."sel""ect; Tbl" ("col um'n", "naïve_表") FROM stdin;
\\.	\\x00ff
\N	\N
\.


--
-- Name: parent p; Type: POLICY; Schema: We ird; Owner: postgres
--

CREATE POLICY p ON "We ird".parent USING ((a <> 'to x'::text));


--
-- Name: mv; Type: MATERIALIZED VIEW DATA; Schema: We ird; Owner: postgres
--

REFRESH MATERIALIZED VIEW "We ird".mv;


--
-- PostgreSQL database dump complete
--

\unrestrict zcoQPcOZzWjNBkDFtC09DOJIV2KksiTDML5g0Iqb6gz0JntyRI8TwjDWW2ppwqu

