CREATE TABLE staff (
  id INTEGER PRIMARY KEY, name TEXT, email TEXT, role TEXT, team TEXT, access TEXT, joined TEXT
);
CREATE TABLE products (
  id INTEGER PRIMARY KEY, sku TEXT UNIQUE, name TEXT, category TEXT, supplier TEXT, price INTEGER,
  stock INTEGER, minimum INTEGER, status TEXT
);
CREATE TABLE customers (
  id INTEGER PRIMARY KEY, name TEXT, email TEXT, phone TEXT, city TEXT, country TEXT, segment TEXT,
  since TEXT
);
CREATE TABLE orders (
  id INTEGER PRIMARY KEY, number TEXT UNIQUE, customer_id INTEGER, date TEXT, status TEXT,
  total INTEGER, note TEXT
);
CREATE INDEX orders_customer ON orders (customer_id);
CREATE TABLE order_lines (
  id INTEGER PRIMARY KEY, order_id INTEGER, product_id INTEGER, quantity INTEGER, price INTEGER
);
CREATE INDEX order_lines_order ON order_lines (order_id);
CREATE TABLE refunds (
  id INTEGER PRIMARY KEY, order_id INTEGER, amount INTEGER, reason TEXT, date TEXT
);
CREATE INDEX refunds_order ON refunds (order_id);
CREATE TABLE tickets (
  id INTEGER PRIMARY KEY, number TEXT UNIQUE, customer_id INTEGER, subject TEXT, body TEXT,
  topic TEXT, status TEXT, priority TEXT, assignee_id INTEGER, opened TEXT
);
CREATE INDEX tickets_customer ON tickets (customer_id);
CREATE TABLE replies (
  id INTEGER PRIMARY KEY, ticket_id INTEGER, author TEXT, body TEXT, date TEXT
);
