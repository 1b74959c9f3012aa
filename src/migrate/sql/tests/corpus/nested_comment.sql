SELECT 1;
DELIMITER //
/*-/*! v */!//