use shop
SELECT 1\G
warnings
SELECT \N\g b
USE shop; status
SELECT 1; use x
