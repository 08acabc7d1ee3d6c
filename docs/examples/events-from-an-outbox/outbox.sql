-- The server needs `wal_level = logical`. A service inserts here in the transaction of its own change.
CREATE TABLE public.outbox (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  type text NOT NULL,
  aggregate_id text NOT NULL,
  payload jsonb
);
CREATE ROLE passerelle LOGIN REPLICATION PASSWORD 'change-me';
GRANT USAGE ON SCHEMA public TO passerelle;
GRANT SELECT ON public.outbox TO passerelle;
CREATE PUBLICATION passerelle FOR TABLE public.outbox;
