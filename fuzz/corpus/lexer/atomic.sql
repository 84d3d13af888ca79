CREATE OR REPLACE FUNCTION app.begin(a int) RETURNS int LANGUAGE sql
 BEGIN ATOMIC
 SELECT a;
 SELECT CASE WHEN a > 1 THEN (CASE WHEN a > 2 THEN 1 END) ELSE 3 END AS "case";
END; create rule r as on delete to t do also (select 1; select 2);x;