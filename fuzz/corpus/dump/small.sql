--
-- PostgreSQL database dump
--

\restrict jQHSi8Bzi4zvf2LAcHwx0k4VRupACanyhfePXbSva4zqMtaaHkOeC1IEfwYofXs

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
-- Name: app; Type: SCHEMA; Schema: -; Owner: postgres
--

CREATE SCHEMA app;


ALTER SCHEMA app OWNER TO postgres;

--
-- Name: mood; Type: TYPE; Schema: app; Owner: postgres
--

CREATE TYPE app.mood AS ENUM (
    'good',
    'it''s'
);


ALTER TYPE app.mood OWNER TO postgres;

--
-- Name: f(integer); Type: FUNCTION; Schema: app; Owner: postgres
--

CREATE FUNCTION app.f(a integer) RETURNS integer
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT
         CASE
             WHEN (a > 1) THEN 1
             ELSE 2
         END AS "case";
 SELECT 3;
END;


ALTER FUNCTION app.f(a integer) OWNER TO postgres;

--
-- Name: g(); Type: FUNCTION; Schema: app; Owner: postgres
--

CREATE FUNCTION app.g() RETURNS text
    LANGUAGE plpgsql
    AS $$ begin return ';'; end $$;


ALTER FUNCTION app.g() OWNER TO postgres;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: t; Type: TABLE; Schema: app; Owner: postgres
--

CREATE TABLE app.t (
    id integer NOT NULL,
    a text,
    m app.mood
);


ALTER TABLE app.t OWNER TO postgres;

--
-- Name: TABLE t; Type: COMMENT; Schema: app; Owner: postgres
--

COMMENT ON TABLE app.t IS 'a; b -- c \';


--
-- Name: t_id_seq; Type: SEQUENCE; Schema: app; Owner: postgres
--

ALTER TABLE app.t ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME app.t_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Data for Name: t; Type: TABLE DATA; Schema: app; Owner: postgres
--

COPY app.t (id, a, m) FROM stdin;
1	one	good
2	tab\there\nand\\.	\N
3		it's
\.


--
-- Name: t_id_seq; Type: SEQUENCE SET; Schema: app; Owner: postgres
--

SELECT pg_catalog.setval('app.t_id_seq', 3, true);


--
-- Name: t t_pkey; Type: CONSTRAINT; Schema: app; Owner: postgres
--

ALTER TABLE ONLY app.t
    ADD CONSTRAINT t_pkey PRIMARY KEY (id);


--
-- Name: t_lower_idx; Type: INDEX; Schema: app; Owner: postgres
--

CREATE INDEX t_lower_idx ON app.t USING btree (lower(a)) WHERE (a <> ';'::text);


--
-- Name: t r; Type: RULE; Schema: app; Owner: postgres
--

CREATE RULE r AS
    ON DELETE TO app.t DO ( SELECT 1 AS "?column?";
 SELECT 2 AS "?column?";
);


--
-- Name: TABLE t; Type: ACL; Schema: app; Owner: postgres
--

GRANT SELECT ON TABLE app.t TO PUBLIC;


--
-- PostgreSQL database dump complete
--

\unrestrict jQHSi8Bzi4zvf2LAcHwx0k4VRupACanyhfePXbSva4zqMtaaHkOeC1IEfwYofXs

