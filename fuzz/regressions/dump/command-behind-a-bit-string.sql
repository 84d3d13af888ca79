SET standard_conforming_strings = off;
select B'\'; \! id
';
-- PostgreSQL database dump complete
