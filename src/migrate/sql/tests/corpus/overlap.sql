SELECT 1;
DELIMITER //
/*!40101 x *//* ; ' */