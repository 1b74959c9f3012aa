-- The conversations of a session, and their messages in order. All times are UTC.
CREATE TABLE agent_conversations (
  id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  session_id  BIGINT UNSIGNED NOT NULL,
  title       VARCHAR(255) NULL,
  created_at  DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
  updated_at  DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)) COMMENT 'time of the latest message',
  PRIMARY KEY (id),
  KEY by_session (session_id, updated_at) COMMENT 'conversations of a session, latest first',
  CONSTRAINT agent_conversations_session FOREIGN KEY (session_id) REFERENCES agent_sessions (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE agent_messages (
  id               BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  conversation_id  BIGINT UNSIGNED NOT NULL,
  position         INT UNSIGNED NOT NULL COMMENT 'position in the conversation, from 1',
  role             ENUM('system', 'user', 'assistant', 'tool') NOT NULL,
  content          LONGTEXT NOT NULL,
  metadata         JSON NULL COMMENT 'for example the model and its tool calls',
  input_tokens     INT UNSIGNED NULL,
  output_tokens    INT UNSIGNED NULL,
  created_at       DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
  PRIMARY KEY (id),
  UNIQUE KEY by_position (conversation_id, position) COMMENT 'orders a conversation; one message at each position',
  CONSTRAINT agent_messages_conversation
    FOREIGN KEY (conversation_id) REFERENCES agent_conversations (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
