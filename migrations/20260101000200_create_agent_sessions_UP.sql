-- A session of a user with an agent. All times are UTC.
CREATE TABLE agent_sessions (
  id            BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  public_id     CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'UUID, the id that clients see',
  user_id       VARCHAR(191) NOT NULL COMMENT 'id of the user in the application',
  agent         VARCHAR(100) NOT NULL,
  state         ENUM('active', 'ended', 'expired') NOT NULL DEFAULT 'active',
  metadata      JSON NULL,
  created_at    DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
  last_seen_at  DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)) COMMENT 'last activity of the user',
  expires_at    DATETIME(6) NULL,
  ended_at      DATETIME(6) NULL,
  PRIMARY KEY (id),
  UNIQUE KEY public_id (public_id),
  KEY by_user (user_id, created_at) COMMENT 'sessions of a user, newest first',
  KEY by_expiry (state, expires_at) COMMENT 'active sessions that have expired'
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
