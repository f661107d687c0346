CREATE TABLE account (id INTEGER PRIMARY KEY, name TEXT, email TEXT, phone TEXT, newsletter INTEGER);
CREATE TABLE categories (id INTEGER PRIMARY KEY, slug TEXT UNIQUE, name TEXT);
CREATE TABLE products (
  id INTEGER PRIMARY KEY, category_id INTEGER, kind TEXT, brand TEXT, name TEXT UNIQUE,
  description TEXT, price INTEGER, stock INTEGER, hue INTEGER, added TEXT,
  rating REAL, reviews INTEGER
);
CREATE INDEX products_category ON products (category_id);
CREATE TABLE attributes (id INTEGER PRIMARY KEY, product_id INTEGER, name TEXT, value TEXT);
CREATE INDEX attributes_product ON attributes (product_id);
CREATE TABLE choices (id INTEGER PRIMARY KEY, product_id INTEGER, name TEXT, value TEXT);
CREATE INDEX choices_product ON choices (product_id);
CREATE TABLE reviews (
  id INTEGER PRIMARY KEY, product_id INTEGER, author TEXT, stars INTEGER, title TEXT, body TEXT,
  date TEXT
);
CREATE INDEX reviews_product ON reviews (product_id);
CREATE TABLE addresses (
  id INTEGER PRIMARY KEY, label TEXT, name TEXT, street TEXT, city TEXT, postcode TEXT, country TEXT
);
CREATE TABLE coupons (
  id INTEGER PRIMARY KEY, code TEXT UNIQUE, percent INTEGER, minimum INTEGER, category_id INTEGER
);
CREATE TABLE cart (id INTEGER PRIMARY KEY, product_id INTEGER, chosen TEXT, quantity INTEGER);
CREATE TABLE cart_coupon (id INTEGER PRIMARY KEY, coupon_id INTEGER);
CREATE TABLE orders (
  id INTEGER PRIMARY KEY, number TEXT UNIQUE, date TEXT, status TEXT, arrives TEXT, address TEXT,
  shipping TEXT, payment TEXT, subtotal INTEGER, coupon TEXT, discount INTEGER, postage INTEGER,
  total INTEGER
);
CREATE TABLE order_items (
  id INTEGER PRIMARY KEY, order_id INTEGER, product_id INTEGER, chosen TEXT, quantity INTEGER,
  price INTEGER, status TEXT, reason TEXT
);
CREATE TABLE wishlist (id INTEGER PRIMARY KEY, product_id INTEGER UNIQUE);
