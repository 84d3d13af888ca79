--
-- PostgreSQL database dump
--

\restrict nkNYMiBdhX1ZP8cMlndLjVTb6XBo9PQieu0hWQFgVZ7g0bvqlgltibcuvZ91S48

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
-- Data for Name: child; Type: TABLE DATA; Schema: We ird; Owner: postgres
--

INSERT INTO "We ird".child VALUES (1, 'x', 2);


--
-- Data for Name: parent; Type: TABLE DATA; Schema: We ird; Owner: postgres
--



--
-- Name: parent p; Type: POLICY; Schema: We ird; Owner: postgres
--

CREATE POLICY p ON "We ird".parent USING ((a <> 'to x'::text));


--
-- PostgreSQL database dump complete
--

\unrestrict nkNYMiBdhX1ZP8cMlndLjVTb6XBo9PQieu0hWQFgVZ7g0bvqlgltibcuvZ91S48

