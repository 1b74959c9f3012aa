-- A schema in the manner of the well-known examples; every way to write a script that they use; a quote ' in a comment
# another comment; with a semicolon and an "open quote
/* a block ; with 'quotes"
   and -- dashes */
SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0;
/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;
/*!40101 SET NAMES utf8mb4 */;

CREATE TABLE film (
  film_id SMALLINT UNSIGNED NOT NULL AUTO_INCREMENT, -- the key; 'really'
  title VARCHAR(128) NOT NULL COMMENT 'it''s; a "title" \\ \'x\'', # and this
  description TEXT /* none; */ DEFAULT NULL,
  rating ENUM('G','PG','PG-13','R','NC-17') DEFAULT 'G',
  special_features SET('Trailers','Commentaries') DEFAULT NULL,
  last_update TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (film_id), KEY idx_title (title), KEY `odd``name;` (rating)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE film_text (
  film_id SMALLINT NOT NULL, title VARCHAR(255) NOT NULL, description TEXT,
  PRIMARY KEY (film_id), FULLTEXT KEY idx_title_description (title, description)
) ENGINE=InnoDB;;

DELIMITER ;;
CREATE TRIGGER `ins_film` AFTER INSERT ON `film` FOR EACH ROW BEGIN
    -- a comment; in the body with an apostrophe: it's
    INSERT INTO film_text (film_id, title, description) VALUES (new.film_id, new.title, new.description);
  END;;

CREATE TRIGGER `upd_film` AFTER UPDATE ON `film` FOR EACH ROW BEGIN
    IF (old.title != new.title) OR (old.description != new.description) THEN
        UPDATE film_text SET title=new.title, description=new.description WHERE film_id=old.film_id;
    END IF;
  END;;
DELIMITER ;

  delimiter $$

CREATE PROCEDURE film_in_stock(IN p_film_id INT, OUT p_count INT)
READS SQL DATA
BEGIN
     SELECT 'not the last result; set' AS a;
     SELECT COUNT(*) INTO p_count FROM film WHERE film_id = p_film_id; /* ; $ */
     CASE p_count WHEN 0 THEN SET p_count = -1; ELSE SET p_count = p_count + 0; END CASE;
END $$

CREATE FUNCTION half(n INT) RETURNS INT DETERMINISTIC
BEGIN
  DECLARE i INT DEFAULT 0;
  again: LOOP
    SET i = i + 1;
    IF i * 2 >= n THEN LEAVE again; END IF;
  END LOOP again;
  WHILE i > 1000 DO SET i = i - 1; END WHILE;
  RETURN i;
END$$
DELIMITER ;

INSERT INTO film (title, description, rating) VALUES ('ACADEMY; DINOSAUR', 'A "quoted" \'text\' with \\ and
a new line; and -- no comment, # neither /* nor this */', 'PG'), ("ACE ""GOLD""", NULL, 'G');
INSERT INTO film (title) VALUES ('naïve 😀 \0 \n \t \% \_ \Z'); UPDATE film SET description = 'x' WHERE film_id = 2; -- two on one line
INSERT INTO film (title, description) SELECT title, 5--5 FROM film WHERE film_id = 1;
CREATE VIEW film_list AS SELECT film_id AS FID, title FROM film WHERE title <> ';' -- no end; yet
;
/*!50001 CREATE ALGORITHM=UNDEFINED SQL SECURITY INVOKER VIEW film_names AS SELECT FID, title FROM film_list */;
DELIMITER ;;
/*!50003 CREATE*/ /*!50003 TRIGGER `del_film` BEFORE DELETE ON `film` FOR EACH ROW BEGIN
  DELETE FROM film_text WHERE film_id = old.film_id; END */;;
DELIMITER ;
DELETE FROM film WHERE title LIKE '%naïve%';
/*!99999 this is for no server */;
CALL film_in_stock(1, @count);
INSERT INTO film (title, description) VALUES (CONCAT('counted ', @count), half(9));
PREPARE statement FROM 'INSERT INTO film (title) VALUES (?)';
SET @title = 'prepared; statement';
EXECUTE statement USING @title;
DEALLOCATE PREPARE statement;
LOCK TABLES film WRITE, film_text WRITE;
/*!40000 ALTER TABLE `film` DISABLE KEYS */;
INSERT INTO `film` (title) VALUES ('locked');
/*!40000 ALTER TABLE `film` ENABLE KEYS */;
UNLOCK TABLES;
SET @OLD_SQL_MODE = @@sql_mode, sql_mode = 'NO_AUTO_VALUE_ON_ZERO';
START TRANSACTION;
INSERT INTO film (film_id, title) VALUES (500, 'in a transaction');
COMMIT;
SET sql_mode = @OLD_SQL_MODE;
UPDATE film SET last_update = '2026-01-01 00:00:00';
SET FOREIGN_KEY_CHECKS=@OLD_FOREIGN_KEY_CHECKS;
SET UNIQUE_CHECKS=@OLD_UNIQUE_CHECKS
-- no delimiter at the end
