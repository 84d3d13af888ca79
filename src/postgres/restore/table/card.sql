-- What belongs to a table besides its rows. Each question gives name, value, and the statements that make and unmake
-- it; $1 is the number of the table; search_path is empty, so that every name comes with its schema.

-- kind: table
select '', concat_ws(' ', c.relpersistence, a.amname), '', ''
from pg_class c
left join pg_am a on a.oid = c.relam
where c.oid = $1

-- kind: column
select
    a.attname::text,
    concat_ws(' ', row_number() over (order by a.attnum), format_type(a.atttypid, a.atttypmod), (select
        format('%I.%I', n.nspname, l.collname) from pg_collation l join pg_namespace n on n.oid = l.collnamespace
        where l.oid = a.attcollation), a.attidentity, a.attgenerated, case when a.attgenerated <> '' then
        pg_get_expr(d.adbin, d.adrelid) end, case when a.attidentity <> '' then
        pg_get_serial_sequence(a.attrelid::regclass::text, a.attname) end),
    '',
    ''
from pg_attribute a
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped

-- kind: owner
select '', r.rolname::text, format('ALTER TABLE %s OWNER TO %I', c.oid::regclass, r.rolname), ''
from pg_class c
join pg_roles r on r.oid = c.relowner
where c.oid = $1

-- kind: sequence
select
    s.oid::regclass::text,
    concat_ws(' ', v.params, d.deptype, a.attname),
    case d.deptype when 'a' then
        format('CREATE SEQUENCE IF NOT EXISTS %1$s; ALTER SEQUENCE %1$s OWNER TO %2$I; '
            || 'ALTER SEQUENCE %1$s %3$s OWNED BY %4$s.%5$I',
        s.oid::regclass, r.rolname, v.params, d.refobjid::regclass, a.attname) else format('ALTER SEQUENCE %s %s',
        s.oid::regclass, v.params) end,
    format('DROP SEQUENCE %s', s.oid::regclass)
from pg_depend d
join pg_class s on s.oid = d.objid and s.relkind = 'S'
join pg_class t on t.oid = d.refobjid
join pg_roles r on r.oid = t.relowner
join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
join pg_sequence q on q.seqrelid = s.oid,
lateral (select format('AS %s INCREMENT %s MINVALUE %s MAXVALUE %s START %s CACHE %s %s', format_type(q.seqtypid,
    null), q.seqincrement, q.seqmin, q.seqmax, q.seqstart, q.seqcache, case when q.seqcycle then 'CYCLE' else
    'NO CYCLE' end)) v(params)
where d.classid = 'pg_class'::regclass and d.refobjid = $1 and d.refclassid = 'pg_class'::regclass and d.deptype in
    ('a', 'i')

-- kind: default
select
    a.attname::text,
    coalesce(pg_get_expr(d.adbin, d.adrelid), ''),
    format('ALTER TABLE ONLY %s ALTER COLUMN %I %s', a.attrelid::regclass, a.attname, coalesce('SET DEFAULT ' ||
        pg_get_expr(d.adbin, d.adrelid), 'DROP DEFAULT')),
    ''
from pg_attribute a
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attidentity = ''

-- kind: not null
select
    a.attname::text,
    a.attnotnull::text,
    format('ALTER TABLE ONLY %s ALTER COLUMN %I %s NOT NULL', a.attrelid::regclass, a.attname, case when a.attnotnull
        then 'SET' else 'DROP' end),
    ''
from pg_attribute a
where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped

-- kind: storage
select
    a.attname::text,
    a.attstorage::text,
    format('ALTER TABLE ONLY %s ALTER COLUMN %I SET STORAGE %s', a.attrelid::regclass, a.attname, case a.attstorage
        when 'p' then 'PLAIN' when 'e' then 'EXTERNAL' when 'm' then 'MAIN' else 'EXTENDED' end),
    ''
from pg_attribute a
where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped

-- kind: compression
select
    x.name,
    x.method,
    format('ALTER TABLE ONLY %s ALTER COLUMN %I SET COMPRESSION %s', $1::oid::regclass, x.name, case x.method when 'p'
        then 'pglz' when 'l' then 'lz4' else 'default' end),
    ''
from (select a.attname::text as name, to_jsonb(a) ->> 'attcompression' as method from pg_attribute a where a.attrelid
    = $1 and a.attnum > 0 and not a.attisdropped) x
where x.method is not null

-- kind: statistics target
select
    x.name,
    x.target,
    format('ALTER TABLE ONLY %s ALTER COLUMN %I SET STATISTICS %s', $1::oid::regclass, x.name, x.target),
    ''
from (select a.attname::text as name, coalesce(to_jsonb(a) ->> 'attstattarget', '-1') as target from pg_attribute a
    where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped) x

-- kind: column options
select
    a.attname::text,
    a.attoptions::text,
    format('ALTER TABLE ONLY %s ALTER COLUMN %I SET (%s)', a.attrelid::regclass, a.attname, (select
        string_agg(format('%I = %L', o.option_name, o.option_value), ', ') from pg_options_to_table(a.attoptions) o)),
    format('ALTER TABLE ONLY %s ALTER COLUMN %I RESET (%s)', a.attrelid::regclass, a.attname, (select
        string_agg(format('%I', o.option_name), ', ') from pg_options_to_table(a.attoptions) o))
from pg_attribute a
where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped and a.attoptions is not null

-- kind: options
select
    x.prefix,
    x.options::text,
    format('ALTER TABLE %s SET (%s)', $1::oid::regclass, (select string_agg(format('%s%I = %L', x.prefix,
        o.option_name, o.option_value), ', ') from pg_options_to_table(x.options) o)),
    format('ALTER TABLE %s RESET (%s)', $1::oid::regclass, (select string_agg(format('%s%I', x.prefix, o.option_name),
        ', ') from pg_options_to_table(x.options) o))
from (select '' as prefix, c.reloptions as options from pg_class c where c.oid = $1 union all select 'toast.',
    t.reloptions from pg_class c join pg_class t on t.oid = c.reltoastrelid where c.oid = $1) x
where x.options is not null

-- kind: tablespace
select '', x.space, format('ALTER TABLE %s SET TABLESPACE %I', $1::oid::regclass, x.space), ''
from (select coalesce(s.spcname, b.spcname)::text as space from pg_class c left join pg_tablespace s on s.oid =
    c.reltablespace join pg_database d on d.datname = current_database() join pg_tablespace b on b.oid =
    d.dattablespace where c.oid = $1) x

-- kind: constraint
select
    c.conname::text,
    pg_get_constraintdef(c.oid),
    format('ALTER TABLE ONLY %s ADD CONSTRAINT %I %s', c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid)),
    format('ALTER TABLE ONLY %s DROP CONSTRAINT %I', c.conrelid::regclass, c.conname)
from pg_constraint c
where c.conrelid = $1 and c.contype in ('c', 'p', 'u', 'x')

-- kind: index
select
    x.oid::regclass::text,
    concat_ws(' ', pg_get_indexdef(x.oid), s.spcname, case when not i.indisvalid then 'invalid' end),
    pg_get_indexdef(x.oid) || coalesce('; ALTER INDEX ' || x.oid::regclass || ' SET TABLESPACE ' ||
        quote_ident(s.spcname), ''),
    format('DROP INDEX %s', x.oid::regclass)
from pg_index i
join pg_class x on x.oid = i.indexrelid
left join pg_tablespace s on s.oid = x.reltablespace
where i.indrelid = $1 and not exists (select from pg_constraint c where c.conindid = i.indexrelid and c.contype in
    ('p', 'u', 'x'))

-- kind: index statistics target
select
    concat_ws(' ', x.index, x.at),
    x.target,
    format('ALTER INDEX %s ALTER COLUMN %s SET STATISTICS %s', x.index, x.at, x.target),
    format('ALTER INDEX %s ALTER COLUMN %s SET STATISTICS -1', x.index, x.at)
from (select i.indexrelid::regclass::text as index, a.attnum as at, coalesce(to_jsonb(a) ->> 'attstattarget', '-1') as
    target from pg_index i join pg_attribute a on a.attrelid = i.indexrelid where i.indrelid = $1) x
where x.target <> '-1'

-- kind: replica identity
select
    '',
    concat_ws(' ', c.relreplident, i.relname),
    format('ALTER TABLE ONLY %s REPLICA IDENTITY %s', c.oid::regclass, case c.relreplident when 'd' then 'DEFAULT'
        when 'n' then 'NOTHING' when 'f' then 'FULL' else format('USING INDEX %I', i.relname) end),
    ''
from pg_class c
left join pg_index x on x.indrelid = c.oid and x.indisreplident
left join pg_class i on i.oid = x.indexrelid
where c.oid = $1

-- kind: cluster
select
    '',
    coalesce(i.relname, '')::text,
    format('ALTER TABLE %s %s', c.oid::regclass, coalesce('CLUSTER ON ' || quote_ident(i.relname),
        'SET WITHOUT CLUSTER')),
    ''
from pg_class c
left join pg_index x on x.indrelid = c.oid and x.indisclustered
left join pg_class i on i.oid = x.indexrelid
where c.oid = $1

-- kind: statistics
select
    x.name,
    concat_ws(' ', pg_get_statisticsobjdef(x.oid), x.owner, x.target),
    format('%s; ALTER STATISTICS %s OWNER TO %I; ALTER STATISTICS %2$s SET STATISTICS %4$s',
        pg_get_statisticsobjdef(x.oid), x.name, x.owner, x.target),
    format('DROP STATISTICS %s', x.name)
from (select s.oid, format('%I.%I', n.nspname, s.stxname) as name, r.rolname::text as owner, coalesce(to_jsonb(s) ->>
    'stxstattarget', '-1') as target from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace join
    pg_roles r on r.oid = s.stxowner where s.stxrelid = $1) x

-- kind: rule
select
    r.rulename::text,
    concat_ws(' ', pg_get_ruledef(r.oid), r.ev_enabled),
    pg_get_ruledef(r.oid) || format(' ALTER TABLE %s %s RULE %I', r.ev_class::regclass, case r.ev_enabled when 'D'
        then 'DISABLE' when 'R' then 'ENABLE REPLICA' when 'A' then 'ENABLE ALWAYS' else 'ENABLE' end, r.rulename),
    format('DROP RULE %I ON %s', r.rulename, r.ev_class::regclass)
from pg_rewrite r
where r.ev_class = $1

-- kind: policy
select
    x.name,
    x.definition,
    format('CREATE POLICY %I ON %s %s', x.name, $1::oid::regclass, x.definition),
    format('DROP POLICY %I ON %s', x.name, $1::oid::regclass)
from (select p.polname::text as name, concat_ws(' ', 'AS', case when p.polpermissive then 'PERMISSIVE' else
    'RESTRICTIVE' end, 'FOR', case p.polcmd when 'r' then 'SELECT' when 'a' then 'INSERT' when 'w' then 'UPDATE' when
    'd' then 'DELETE' else 'ALL' end, 'TO', (select string_agg(coalesce(quote_ident(r.rolname), 'PUBLIC'), ', ' order
    by r.rolname) from unnest(p.polroles) u(oid) left join pg_roles r on r.oid = u.oid), 'USING (' ||
    pg_get_expr(p.polqual, p.polrelid) || ')', 'WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')') as
    definition from pg_policy p where p.polrelid = $1) x

-- kind: row security
select
    '',
    concat_ws(' ', c.relrowsecurity, c.relforcerowsecurity),
    format('ALTER TABLE %s %s ROW LEVEL SECURITY; ALTER TABLE %1$s %3$s ROW LEVEL SECURITY', c.oid::regclass, case
        when c.relrowsecurity then 'ENABLE' else 'DISABLE' end, case when c.relforcerowsecurity then 'FORCE' else
        'NO FORCE' end),
    ''
from pg_class c
where c.oid = $1

-- kind: publication
select
    p.pubname::text,
    x.definition,
    format('ALTER PUBLICATION %I ADD TABLE ONLY %s', p.pubname, x.definition),
    format('ALTER PUBLICATION %I DROP TABLE ONLY %s', p.pubname, r.prrelid::regclass)
from pg_publication_rel r
join pg_publication p on p.oid = r.prpubid,
lateral (select r.prrelid::regclass::text /* PARTS */) x(definition)
where r.prrelid = $1

-- kind: grants
with target as (select c.oid, c.relowner, o.rolname as owner, c.oid::regclass::text as name from pg_class c join
    pg_roles o on o.oid = c.relowner where c.oid = $1), given as (select t.name, t.owner, '' as part, a.* from target
    t join pg_class c on c.oid = t.oid, lateral aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a union
    all select t.name, t.owner, format(' (%I)', x.attname), a.* from target t join pg_attribute x on x.attrelid =
    t.oid and x.attnum > 0 and not x.attisdropped, lateral aclexplode(x.attacl) a), named as (select g.*,
    coalesce(quote_ident(e.rolname), 'PUBLIC') as who, r.rolname as by from given g left join pg_roles e on e.oid =
    g.grantee left join pg_roles r on r.oid = g.grantor)
select
    '',
    coalesce(string_agg(concat_ws(' ', n.privilege_type || n.part, n.who, 'by', n.by, case when n.is_grantable then
        'with grant option' end), '; ' order by n.part, n.privilege_type, n.who, n.by), ''),
    (select format('REVOKE ALL ON TABLE %s FROM %I; ', t.name, t.owner) from target t) ||
        coalesce(string_agg(format('%sGRANT %s%s ON TABLE %s TO %s%s%s', case when n.by <> n.owner then
        format('SET LOCAL ROLE %I; ', n.by) else '' end, n.privilege_type, n.part, n.name, n.who, case when
        n.is_grantable and n.grantee <> 0 and n.who <> quote_ident(n.owner) then ' WITH GRANT OPTION' else '' end,
        case when n.by <> n.owner then '; RESET ROLE' else '' end), '; ' order by (n.by <> n.owner), n.is_grantable
        desc, n.part, n.privilege_type, n.who), ''),
    coalesce((select string_agg(distinct format('REVOKE ALL ON TABLE %s FROM %s CASCADE', m.name, m.who), '; ') from
        named m where m.who <> quote_ident(m.owner)), '')
from named n

-- kind: sequence grants
with named as (select s.oid::regclass::text as name, o.rolname as owner, a.*, coalesce(quote_ident(e.rolname),
    'PUBLIC') as who, r.rolname as by from pg_depend d join pg_class s on s.oid = d.objid and s.relkind = 'S' join
    pg_roles o on o.oid = s.relowner, lateral aclexplode(coalesce(s.relacl, acldefault('s', s.relowner))) a left join
    pg_roles e on e.oid = a.grantee left join pg_roles r on r.oid = a.grantor where d.classid = 'pg_class'::regclass
    and d.refobjid = $1 and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i'))
select
    n.name,
    string_agg(concat_ws(' ', n.privilege_type, n.who, 'by', n.by, case when n.is_grantable then 'with grant option'
        end), '; ' order by n.privilege_type, n.who, n.by),
    format('REVOKE ALL ON SEQUENCE %s FROM %I; ', n.name, n.owner) ||
        string_agg(format('%sGRANT %s ON SEQUENCE %s TO %s%s%s', case when n.by <> n.owner then
        format('SET LOCAL ROLE %I; ', n.by) else '' end, n.privilege_type, n.name, n.who, case when n.is_grantable and
        n.grantee <> 0 and n.who <> quote_ident(n.owner) then ' WITH GRANT OPTION' else '' end, case when n.by <>
        n.owner then '; RESET ROLE' else '' end), '; ' order by (n.by <> n.owner), n.is_grantable desc,
        n.privilege_type, n.who),
    coalesce(string_agg(distinct case when n.who <> quote_ident(n.owner) then
        format('REVOKE ALL ON SEQUENCE %s FROM %s CASCADE', n.name, n.who) end, '; '), '')
from named n
group by n.name, n.owner

-- kind: comment
with things(classid, objid, objsubid, name) as ( select 'pg_class', c.oid, 0, 'TABLE ' || c.oid::regclass from
    pg_class c where c.oid = $1 union all select 'pg_class', a.attrelid, a.attnum, format('COLUMN %s.%I',
    a.attrelid::regclass, a.attname) from pg_attribute a where a.attrelid = $1 and a.attnum > 0 union all select
    'pg_class', i.indexrelid, 0, 'INDEX ' || i.indexrelid::regclass from pg_index i where i.indrelid = $1 union all
    select 'pg_constraint', c.oid, 0, format('CONSTRAINT %I ON %s', c.conname, c.conrelid::regclass) from
    pg_constraint c where c.conrelid = $1 union all select 'pg_trigger', t.oid, 0, format('TRIGGER %I ON %s',
    t.tgname, t.tgrelid::regclass) from pg_trigger t where t.tgrelid = $1 union all select 'pg_rewrite', r.oid, 0,
    format('RULE %I ON %s', r.rulename, r.ev_class::regclass) from pg_rewrite r where r.ev_class = $1 union all select
    'pg_policy', p.oid, 0, format('POLICY %I ON %s', p.polname, p.polrelid::regclass) from pg_policy p where
    p.polrelid = $1 union all select 'pg_statistic_ext', s.oid, 0, format('STATISTICS %I.%I', n.nspname, s.stxname)
    from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace where s.stxrelid = $1 union all select
    'pg_class', d.objid, 0, 'SEQUENCE ' || d.objid::regclass from pg_depend d join pg_class s on s.oid = d.objid and
    s.relkind = 'S' where d.classid = 'pg_class'::regclass and d.refobjid = $1 and d.deptype in ('a', 'i'))
select
    t.name,
    d.description,
    format('COMMENT ON %s IS %L', t.name, d.description),
    format('COMMENT ON %s IS NULL', t.name)
from things t
join pg_description d on d.classoid = t.classid::regclass and d.objoid = t.objid and d.objsubid = t.objsubid

-- kind: label
select
    x.name,
    x.label,
    format('SECURITY LABEL FOR %I ON %s IS %L', x.provider, x.name, x.label),
    format('SECURITY LABEL FOR %I ON %s IS NULL', x.provider, x.name)
from (select s.provider, s.label, case when a.attname is null then 'TABLE ' || s.objoid::regclass else
    format('COLUMN %s.%I', s.objoid::regclass, a.attname) end as name from pg_seclabel s left join pg_attribute a on
    a.attrelid = s.objoid and a.attnum = s.objsubid and s.objsubid > 0 where s.objoid = $1 and s.classoid =
    'pg_class'::regclass) x

-- kind: trigger
select
    t.tgname::text,
    concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled),
    pg_get_triggerdef(t.oid) || format('; ALTER TABLE %s %s TRIGGER %I', t.tgrelid::regclass, case t.tgenabled when
        'D' then 'DISABLE' when 'R' then 'ENABLE REPLICA' when 'A' then 'ENABLE ALWAYS' else 'ENABLE' end, t.tgname),
    format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass)
from pg_trigger t
where t.tgrelid = $1 and not t.tgisinternal

-- kind: foreign key
select
    c.conname::text,
    pg_get_constraintdef(c.oid),
    format('ALTER TABLE ONLY %s ADD CONSTRAINT %I %s', c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid)),
    format('ALTER TABLE ONLY %s DROP CONSTRAINT %I', c.conrelid::regclass, c.conname)
from pg_constraint c
where c.conrelid = $1 and c.contype = 'f'

-- kind: foreign key to it
select
    format('%I of %s', c.conname, c.conrelid::regclass),
    concat_ws(' -- ', pg_get_constraintdef(c.oid), d.description),
    format('ALTER TABLE %s ADD CONSTRAINT %I %s', c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid)) ||
        coalesce(format('; COMMENT ON CONSTRAINT %I ON %s IS %L', c.conname, c.conrelid::regclass, d.description),
        ''),
    format('ALTER TABLE %s DROP CONSTRAINT %I', c.conrelid::regclass, c.conname)
from pg_constraint c
left join pg_description d on d.objoid = c.oid and d.classoid = 'pg_constraint'::regclass
where c.confrelid = $1 and c.conrelid <> $1 and c.contype = 'f' and c.conparentid = 0
