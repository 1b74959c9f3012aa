//! Tests this server's own migrations, in `migrations/`.

use crate::on_both;

fn folder() -> String {
    format!("--dir {}/migrations", env!("CARGO_MANIFEST_DIR"))
}

on_both! {
    fn every_up_is_undone_by_its_down(db) {
        db.create();
        let before = db.contents();
        db.create_tables();
        let after = db.contents();
        let queue = ["ai_server_controls", "ai_server_tasks", "ai_server_workers"];
        assert_eq!(db.tables(), [&["agent_conversations", "agent_messages", "agent_sessions"][..], &queue].concat());
        let down = db.airun(&format!("migrate rollback -n 100 {}", folder()));
        assert_eq!(down.code, 0, "{down:?}");
        assert_eq!(db.contents(), before);
        db.create_tables();
        assert_eq!(db.contents(), after);
    }

    fn plain_insert_enqueues_a_task(db) {
        db.create_tables();
        db.execute(&["INSERT INTO ai_server_tasks (kind, payload) VALUES ('mail.send', '{\"to\": \"ada@example.org\"}')"]);
        let row = "SELECT queue, priority, state, claim_count, worker_id, next_action_at BETWEEN UTC_TIMESTAMP(6) - INTERVAL 1 MINUTE AND UTC_TIMESTAMP(6), created_at = scheduled_at, scheduled_at = next_action_at FROM ai_server_tasks";
        assert_eq!(db.rows(row), ["default|1|pending|0|0|1|1|1"]);
    }

    fn dedupe_key_is_unique_while_its_task_is_active(db) {
        use mysql::prelude::Queryable as _;
        db.create_tables();
        let insert = "INSERT INTO ai_server_tasks (kind, payload, dedupe_key) VALUES ('k', '{}', 'once')";
        let mut conn = db.conn();
        conn.query_drop(insert).unwrap();
        assert!(conn.query_drop(insert).unwrap_err().to_string().contains("1062"));
        conn.query_drop("UPDATE ai_server_tasks SET state = 'running'").unwrap();
        assert!(conn.query_drop(insert).unwrap_err().to_string().contains("1062"));
        conn.query_drop("UPDATE ai_server_tasks SET state = 'succeeded'").unwrap();
        conn.query_drop(insert).unwrap();
    }

    fn messages_are_deleted_with_their_session(db) {
        db.create_tables();
        db.execute(&[
            "INSERT INTO agent_sessions (public_id, user_id, agent) VALUES (UUID(), 'ada', 'helper')",
            "INSERT INTO agent_conversations (session_id, title) SELECT id, 'grüße 😀' FROM agent_sessions",
            "INSERT INTO agent_messages (conversation_id, position, role, content) SELECT id, 1, 'user', 'hi' FROM agent_conversations",
            "DELETE FROM agent_sessions",
        ]);
        assert_eq!(db.rows("SELECT COUNT(*) FROM agent_messages"), ["0"]);
    }
}
