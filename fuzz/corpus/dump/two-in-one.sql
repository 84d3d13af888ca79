\restrict k
select 1;
-- PostgreSQL database dump complete
\unrestrict k
\restrict l
