//! `airun task workers`: the registered workers.

use serde_json::json;

use super::queue_conn::QueueConn;
use super::{registered_workers, short};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::table::Table;
use crate::error::Result;

pub fn workers(context: &mut Context) -> Result<Exit> {
    let mut conn = QueueConn::connect(context)?;
    let (workers, output) = (registered_workers(&mut conn)?, &mut context.output);
    if context.args.has("--json") {
        output.report(Some(&conn.database.name), &json!({"workers": workers}))?;
    } else if workers.is_empty() {
        output.line(&format!("no worker runs tasks of `{}`; `airun worker` starts one", conn.database.name));
    } else {
        let mut table = Table::with_header(["worker", "state", "hostname", "pid", "tasks", "heartbeat", "started"]);
        for worker in &workers {
            table.row([
                worker.id.to_string(),
                worker.state.name().to_owned(),
                worker.hostname.clone(),
                worker.pid.to_string(),
                worker.running.to_string(),
                format!("{} ago", short(worker.heartbeat_age_micros)),
                format!("{} UTC", worker.started_at),
            ]);
        }
        table.print(output);
    }
    Ok(Exit::Success)
}
