select E'a'
  'b\';c' ; x;
select E'a'
-- c '
 'b\';' ;
select 'a'
'b';