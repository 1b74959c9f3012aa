-- A session of an agent: who talks to which agent, from its start to its end. All times are UTC.
CREATE TABLE agent_sessions (
  id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  public_id   CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'UUID, for everybody outside',
  user_id     VARCHAR(191) NOT NULL COMMENT 'as the application names its users',
  agent       VARCHAR(100) NOT NULL,
  state       ENUM('active', 'ended', 'expired') NOT NULL DEFAULT 'active',
  metadata    JSON NULL,
  created_at  DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
  seen_at     DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)) COMMENT 'last sign of life',
  expires_at  DATETIME(6) NULL,
  ended_at    DATETIME(6) NULL,
  PRIMARY KEY (id),
  UNIQUE KEY public_id (public_id),
  KEY user_newest (user_id, created_at) COMMENT 'the sessions of a user, newest first',
  KEY to_expire (state, expires_at) COMMENT 'active sessions whose time is up'
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
