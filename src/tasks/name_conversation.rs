//! The example of a database task: gives a conversation a title, from the first thing that its user said.

use airun::queue::{DatabaseTask, Failure, TaskContext, TaskError};
use mysql::TxOpts;
use mysql::prelude::Queryable as _;
use serde::{Deserialize, Serialize};

/// Has no state: one value serves all runs, on several threads at once.
#[derive(Debug)]
pub struct NameConversation;

/// What is enqueued. Anything may be added as an `Option`; for other changes raise `VERSION`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Payload {
    pub conversation_id: u64,
}

const TITLE_CHARACTERS_MAX: usize = 60;

impl DatabaseTask for NameConversation {
    type Payload = Payload;
    type Output = String;
    const KIND: &'static str = "name_conversation";

    fn execute(&self, payload: Payload, context: &TaskContext<'_>) -> Result<String, TaskError> {
        const FIRST: &str =
            "SELECT content FROM agent_messages WHERE conversation_id = ? AND role = 'user' ORDER BY sequence LIMIT 1";
        const NAME: &str = "UPDATE agent_conversations SET title = ? WHERE id = ?";
        let mut conn = context.conn()?;
        let mut transaction = conn.start_transaction(TxOpts::default())?;
        let Some(said) = transaction.exec_first::<String, _, _>(FIRST, (payload.conversation_id,))? else {
            return Err(Failure::fatal(format!("conversation {} has no message", payload.conversation_id)).into());
        };
        let title = title(&said);
        transaction.exec_drop(NAME, (&title, payload.conversation_id))?;
        // The title and the task's completion are committed together: after a crash there are both, or neither.
        context.complete_in(&mut transaction, &title)?;
        transaction.commit()?;
        log::info!("conversation {} is called `{title}`", payload.conversation_id);
        Ok(title)
    }
}

/// The first line, cut at a word.
fn title(said: &str) -> String {
    let line = said.trim().lines().next().unwrap_or_default();
    if line.chars().count() <= TITLE_CHARACTERS_MAX {
        return line.to_owned();
    }
    let cut: String = line.chars().take(TITLE_CHARACTERS_MAX).collect();
    let end = cut.rfind(char::is_whitespace).unwrap_or(cut.len());
    format!("{}…", cut[..end].trim_end())
}

#[cfg(test)]
mod tests {
    use super::title;

    #[test]
    fn a_title_is_a_line_that_ends_with_a_word() {
        assert_eq!(title("  How do I bake bread?\nAnd butter?"), "How do I bake bread?");
        let long = title("I would like to know everything that there is to know about the making of bread");
        assert_eq!(long, "I would like to know everything that there is to know about…");
    }
}
