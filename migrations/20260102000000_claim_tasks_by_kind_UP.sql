-- A claim takes tasks of one kind and version at a time: those that a worker doesn't know are never looked at, however
-- many wait, and the running ones of a kind are counted by the same index.
ALTER TABLE ai_server_tasks
  DROP KEY due,
  ADD KEY due (state, kind, payload_version, queue, priority, due_at, id),
  MODIFY max_attempts INT UNSIGNED NOT NULL DEFAULT 0 COMMENT '0: as its kind has it',
  MODIFY timeout_ms INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'of one run; 0: as its kind has it';

-- The workers that are alive. Each holds a named lock for as long as its process lives.
CREATE TABLE ai_server_workers (
  id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT COMMENT 'the owner of its tasks',
  host        VARCHAR(255) NOT NULL,
  process_id  INT UNSIGNED NOT NULL,
  started_at  DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
  seen_at     DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)) COMMENT 'last sign of life',
  idle        BOOLEAN NOT NULL DEFAULT TRUE COMMENT 'it asks for work, so the others may ask less often',
  suspected_at  DATETIME(6) NULL COMMENT 'its lock was seen free',
  PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- What the claims of a queue or a kind pass through: it may be shut, and it counts those of a kind with a limit.
CREATE TABLE ai_server_controls (
  scope      ENUM('queue', 'kind') NOT NULL,
  name       VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  paused     BOOLEAN NOT NULL DEFAULT FALSE,
  paused_at  DATETIME(6) NULL,
  PRIMARY KEY (scope, name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
