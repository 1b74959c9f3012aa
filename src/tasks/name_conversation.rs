//! An example of a database task: gives a conversation a title, taken from its user's first message.

use airun::TaskError;
use airun::mysql::TxOpts;
use airun::mysql::prelude::Queryable as _;
use airun::queue::{DatabaseTask, Failure, TaskContext, TaskPayload};
use serde::{Deserialize, Serialize};

/// The payload that is enqueued. A field can be added as an `Option`; for other changes raise `VERSION`.
#[derive(Debug, Serialize, Deserialize)]
pub struct NameConversation {
    pub conversation_id: u64,
}

impl TaskPayload for NameConversation {
    const KIND: &'static str = "name_conversation";
}

/// Handles the task. It has no state: one value serves all runs, on several threads at once.
#[derive(Debug)]
pub struct ConversationNamer;

const TITLE_CHARACTERS_MAX: usize = 60;

impl DatabaseTask for ConversationNamer {
    type Payload = NameConversation;
    type Output = String;

    fn execute(&self, payload: NameConversation, context: &TaskContext<'_>) -> Result<String, TaskError> {
        const FIRST_MESSAGE: &str =
            "SELECT content FROM agent_messages WHERE conversation_id = ? AND role = 'user' ORDER BY position LIMIT 1";
        const SET_TITLE: &str = "UPDATE agent_conversations SET title = ? WHERE id = ?";
        let id = payload.conversation_id;
        let mut conn = context.conn()?;
        let mut transaction = conn.start_transaction(TxOpts::default())?;
        let Some(message) = transaction.exec_first::<String, _, _>(FIRST_MESSAGE, (id,))? else {
            return Err(Failure::fatal(format!("conversation {id} has no message from its user")).into());
        };
        let title = title(&message);
        transaction.exec_drop(SET_TITLE, (&title, id))?;
        // One transaction for the title and the task's completion: a crash leaves both or neither.
        context.complete_in(&mut transaction, &title)?;
        transaction.commit()?;
        log::info!("named conversation {id} `{title}`");
        Ok(title)
    }
}

/// Returns the first line of a message, shortened after a word.
fn title(message: &str) -> String {
    let line = message.trim().lines().next().unwrap_or_default();
    if line.chars().count() <= TITLE_CHARACTERS_MAX {
        return line.to_owned();
    }
    let start: String = line.chars().take(TITLE_CHARACTERS_MAX).collect();
    let end = start.rfind(char::is_whitespace).unwrap_or(start.len());
    format!("{}…", start[..end].trim_end())
}

#[cfg(test)]
mod tests {
    use super::title;

    #[test]
    fn a_title_is_the_first_line_and_ends_with_a_whole_word() {
        assert_eq!(title("  How do I bake bread?\nAnd butter?"), "How do I bake bread?");
        let long = title("I would like to know everything that there is to know about the making of bread");
        assert_eq!(long, "I would like to know everything that there is to know about…");
    }
}
