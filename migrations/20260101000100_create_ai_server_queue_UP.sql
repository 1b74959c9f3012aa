-- The queue of database tasks. A task is pending, then running, then in one of the final states succeeded, dead or
-- cancelled; a retry makes it pending again. All times are UTC by the server's clock. A program in any language can
-- enqueue with a plain INSERT of `kind` and `payload`; the other columns have defaults.
CREATE TABLE ai_server_tasks (
  id                BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  queue             VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'default',
  priority          TINYINT UNSIGNED NOT NULL DEFAULT 1 COMMENT '0 urgent, 1 normal, 2 bulk',
  kind              VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'selects the handler',
  payload_version   SMALLINT UNSIGNED NOT NULL DEFAULT 1,
  payload           JSON NOT NULL,
  state             ENUM('pending', 'running', 'succeeded', 'dead', 'cancelled') NOT NULL DEFAULT 'pending',
  scheduled_at      DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)) COMMENT 'the first run starts no earlier',
  next_action_at    DATETIME(6) NOT NULL DEFAULT (scheduled_at)
                    COMMENT 'pending: starts no earlier; running: end of the lease; final: purged after',
  claim_count       INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'numbers each claim, so that late finishers are ignored',
  failures          INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'runs that ended in an error',
  crashes           INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'runs during which the process died',
  isolated_runs     INT UNSIGNED NOT NULL DEFAULT 0
                    COMMENT 'runs in a process of their own, after a crash, with no outcome reported so far',
  max_attempts      INT UNSIGNED NOT NULL DEFAULT 0 COMMENT '0: the default of the kind',
  timeout_ms        INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'limit of one run; 0: the default of the kind',
  worker_id         BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'the worker that runs the task; 0: none',
  cancel_requested  BOOLEAN NOT NULL DEFAULT FALSE,
  dedupe_key        VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  -- NOT NULL, with 1970 for "not yet": if NULL became a value, the row would grow, and claims would take longer.
  created_at        DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
  started_at        DATETIME(6) NOT NULL DEFAULT '1970-01-01 00:00:00' COMMENT 'start of the latest run; 1970: none',
  finished_at       DATETIME(6) NOT NULL DEFAULT '1970-01-01 00:00:00' COMMENT '1970: not finished',
  result            JSON NULL,
  progress          JSON NULL COMMENT 'reported by the running task',
  last_error        TEXT NULL,
  -- The unique key allows one unfinished task for each dedupe key, whichever program changes the state.
  active_dedupe_key VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
                    GENERATED ALWAYS AS (IF(state IN ('pending', 'running'), dedupe_key, NULL)) VIRTUAL,
  PRIMARY KEY (id),
  -- Claims read one class of tasks (kind, version, queue and priority) in this order. They need no sort, lock no row
  -- that they do not take, and never read tasks of kinds that the worker cannot run.
  KEY by_class (state, kind, payload_version, queue, priority, next_action_at, id),
  UNIQUE KEY active_dedupe_key (active_dedupe_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- One row for each live worker. Every worker also holds a named lock for as long as its process lives.
CREATE TABLE ai_server_workers (
  id                 BIGINT UNSIGNED NOT NULL AUTO_INCREMENT COMMENT 'worker_id of the tasks that it runs',
  hostname           VARCHAR(255) NOT NULL,
  pid                INT UNSIGNED NOT NULL,
  started_at         DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
  last_heartbeat_at  DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
  idle               BOOLEAN NOT NULL DEFAULT TRUE COMMENT 'polls for work, so the other workers can poll less often',
  suspected_at       DATETIME(6) NULL COMMENT 'when another worker first found its lock free or its heartbeat late',
  PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- Pauses queues and kinds. Claims of a kind with a concurrency limit also lock its row here while they count.
CREATE TABLE ai_server_controls (
  scope      ENUM('queue', 'kind') NOT NULL,
  name       VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  paused     BOOLEAN NOT NULL DEFAULT FALSE,
  paused_at  DATETIME(6) NULL,
  PRIMARY KEY (scope, name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
