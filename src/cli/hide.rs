//! Removes a password from the process list, where every user could read it.
//!
//! The process replaces itself with the same program without the URL in its arguments. The URL is passed in the
//! environment, which only its own user and root can read (proc(5)).

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::config::URL_FROM_FLAG;

const FLAG: &str = "--database-url";

/// Does not return if it has hidden a password. If that fails, the command continues with the password visible.
pub fn hide_password(args: &[OsString]) {
    let Some((url, rest)) = extract(args) else { return };
    let Ok(program) = env::current_exe() else { return };
    let error = Command::new(program).args(rest).env(URL_FROM_FLAG, url).exec();
    log::debug!("failed to hide the password from the process list: {error}");
}

/// Returns a URL with a password, and the other arguments. A URL that is given twice is left for the parser to refuse.
fn extract(args: &[OsString]) -> Option<(String, Vec<OsString>)> {
    let at = args.iter().position(is_flag)?;
    let (url, rest) = match args[at].to_str()?.split_once('=') {
        Some((_, url)) => (url.to_owned(), [&args[..at], &args[at + 1..]].concat()),
        None => (args.get(at + 1)?.to_str()?.to_owned(), [&args[..at], &args[at + 2..]].concat()),
    };
    let credentials = url.split_once("://")?.1.rsplit_once('@')?.0;
    let once = !rest.iter().any(is_flag);
    (once && credentials.contains(':')).then_some((url, rest))
}

fn is_flag(arg: &OsString) -> bool {
    arg.to_str().is_some_and(|arg| arg == FLAG || arg.strip_prefix(FLAG).is_some_and(|rest| rest.starts_with('=')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_url_with_a_password_is_extract() {
        let extracted = |line: &str| extract(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        let rest = vec![OsString::from("up"), OsString::from("--strict")];
        for line in ["up --database-url mysql://u:p@h/d --strict", "up --database-url=mysql://u:p@h/d --strict"] {
            assert_eq!(extracted(line), Some(("mysql://u:p@h/d".to_owned(), rest.clone())));
        }
        for line in [
            "up",
            "up --database-url",
            "up --database-url mysql://u@h:1/d",
            "--database-url=mysql://u:p@h/d --database-url=x",
        ] {
            assert_eq!(extracted(line), None, "{line}");
        }
    }
}
