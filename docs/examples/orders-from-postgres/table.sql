-- The server needs `wal_level = logical`. Columns have the names of the schema's fields.
CREATE TABLE public.orders (
  id text PRIMARY KEY,
  placed_at timestamptz NOT NULL,
  currency text NOT NULL,
  customer jsonb NOT NULL,
  lines jsonb NOT NULL,
  total numeric(18, 2) NOT NULL,
  note text
);
CREATE ROLE passerelle LOGIN REPLICATION PASSWORD 'change-me';
GRANT USAGE ON SCHEMA public TO passerelle;
GRANT SELECT ON public.orders TO passerelle;
CREATE PUBLICATION passerelle FOR TABLE public.orders;

INSERT INTO public.orders VALUES (
  'O-1001', '2026-01-31T08:15:00Z', 'EUR',
  '{ "id": "C-7", "name": "Ada Lovelace", "email": "ada@example.com",
     "address": { "street": "12 St James''s Square", "city": "London", "postal_code": "SW1Y 4JH", "country": "GB" } }',
  '[{ "sku": "SKU-1", "description": "Tea", "quantity": 3, "unit_price": 33.30 }]',
  99.90, 'Ring twice'
);
