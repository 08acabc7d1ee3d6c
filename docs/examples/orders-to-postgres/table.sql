CREATE SCHEMA shop;
CREATE TABLE shop.orders (
  id text PRIMARY KEY,
  customer text NOT NULL,
  total numeric(18, 2) NOT NULL,
  currency text NOT NULL,
  placed_at timestamptz NOT NULL,
  lines jsonb NOT NULL
);
