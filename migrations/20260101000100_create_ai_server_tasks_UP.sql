-- The queue of database tasks. A row is pending, then running, then in one of the final states; all times are UTC, by
-- the server's clock. Any language may enqueue by INSERT: kind and payload are enough, the rest has defaults.
CREATE TABLE ai_server_tasks (
  id               BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  queue            VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'default',
  priority             TINYINT UNSIGNED NOT NULL DEFAULT 1 COMMENT 'priority: 0 urgent, 1 normal, 2 bulk',
  kind             VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'which task it is',
  payload_version  SMALLINT UNSIGNED NOT NULL DEFAULT 1,
  payload          JSON NOT NULL,
  state            ENUM('pending', 'running', 'succeeded', 'dead', 'cancelled') NOT NULL DEFAULT 'pending',
  due_at           DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6))
                   COMMENT 'pending: not before; running: end of the lease; final: purged after',
  claims           INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'how often it was claimed: the fence against late finishers',
  failures         INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'runs that ended in an error',
  crashes          INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'runs that took their worker with them',
  max_attempts     INT UNSIGNED NOT NULL DEFAULT 10,
  timeout_ms       INT UNSIGNED NOT NULL DEFAULT 60000 COMMENT 'of one run',
  owner            BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'the worker that runs it; 0 is none',
  cancel_requested BOOLEAN NOT NULL DEFAULT FALSE,
  dedupe_key       VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  -- Not NULL, with 1970 for "not yet": a value where there was none makes the row grow, and that costs a claim dearly.
  created_at       DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
  started_at       DATETIME(6) NOT NULL DEFAULT '1970-01-01 00:00:00' COMMENT 'of the newest run; 1970 is not yet',
  finished_at      DATETIME(6) NOT NULL DEFAULT '1970-01-01 00:00:00' COMMENT '1970 is not yet',
  result           JSON NULL,
  progress         JSON NULL COMMENT 'what the running task says of itself',
  last_error       TEXT NULL,
  -- Unique among the tasks that are alive, whoever changes the state.
  active_dedupe_key VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
                   GENERATED ALWAYS AS (IF(state IN ('pending', 'running'), dedupe_key, NULL)) VIRTUAL,
  PRIMARY KEY (id),
  -- In the order of the claim, so that it needs no sort and locks no row that it doesn't take.
  KEY due (state, queue, priority, due_at, id),
  UNIQUE KEY active_dedupe_key (active_dedupe_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
