DELIMITER //
a; b//
  delimiter ;
c; d
delimiter $$
a;$$
DELIMITER '|' and words
a|b|
DELIMITER end_it
begin a; end_itb end_it