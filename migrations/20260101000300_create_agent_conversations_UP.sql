-- Conversations within a session, and their messages in order. All times are UTC.
CREATE TABLE agent_conversations (
  id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  session_id  BIGINT UNSIGNED NOT NULL,
  title       VARCHAR(255) NULL,
  created_at  DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
  updated_at  DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)) COMMENT 'of the newest message',
  PRIMARY KEY (id),
  KEY session_newest (session_id, updated_at) COMMENT 'the conversations of a session, newest first',
  CONSTRAINT agent_conversations_session FOREIGN KEY (session_id) REFERENCES agent_sessions (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE agent_messages (
  id               BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  conversation_id  BIGINT UNSIGNED NOT NULL,
  sequence         INT UNSIGNED NOT NULL COMMENT 'place in the conversation, from 1',
  role             ENUM('system', 'user', 'assistant', 'tool') NOT NULL,
  content          LONGTEXT NOT NULL,
  metadata         JSON NULL COMMENT 'model, tool calls and the like',
  input_tokens     INT UNSIGNED NULL,
  output_tokens    INT UNSIGNED NULL,
  created_at       DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
  PRIMARY KEY (id),
  UNIQUE KEY place (conversation_id, sequence) COMMENT 'a conversation in order; no two messages in one place',
  CONSTRAINT agent_messages_conversation
    FOREIGN KEY (conversation_id) REFERENCES agent_conversations (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
