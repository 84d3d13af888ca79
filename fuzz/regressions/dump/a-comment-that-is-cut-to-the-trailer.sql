-- PostgreSQL database dump

SET a = 1;

-- PostgreSQL database dump completed on Monday
SELECT 1;

--
-- PostgreSQL database dump complete
--

