//! Who commits what a script does. Pure.

/// The effect of a statement on the open transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The transaction, if one is open, stays open.
    None,
    /// The statement and everything before it is committed, or rolled back by the script. No transaction is open.
    Committed,
    /// The script opened a transaction.
    Began,
    /// The script set `autocommit`.
    Autocommit(bool),
    LockedTables,
    UnlockedTables,
}

/// Who opens and commits the transaction of the next statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxMode {
    /// airun: one transaction for the whole script and its row.
    WholeScript,
    /// airun: one transaction for each batch of DML and its record.
    PerBatch,
    /// airun, inside `LOCK TABLES`. `START TRANSACTION` would unlock the tables, so `autocommit` is off instead.
    TablesLocked,
    /// The script, by `BEGIN`.
    ScriptTransaction,
    /// The script, by `autocommit = 0`.
    AutocommitOff,
    /// The script, by `autocommit = 0`, inside `LOCK TABLES`.
    TablesLockedAutocommitOff,
}

impl TxMode {
    /// True if airun commits each record.
    pub fn airun_commits(self) -> bool {
        matches!(self, TxMode::PerBatch | TxMode::TablesLocked)
    }

    /// True if the script commits. Records are then part of its transaction.
    pub fn script_commits(self) -> bool {
        matches!(self, TxMode::ScriptTransaction | TxMode::AutocommitOff | TxMode::TablesLockedAutocommitOff)
    }

    /// True inside `LOCK TABLES`.
    pub fn tables_locked(self) -> bool {
        matches!(self, TxMode::TablesLocked | TxMode::TablesLockedAutocommitOff)
    }

    /// Returns the mode after a statement.
    pub fn after(self, effect: Effect) -> Self {
        use TxMode::{
            AutocommitOff, PerBatch, ScriptTransaction, TablesLocked, TablesLockedAutocommitOff, WholeScript,
        };
        match (effect, self) {
            (_, WholeScript) => WholeScript,
            (Effect::None, mode) => mode,
            (Effect::Committed, ScriptTransaction) => PerBatch,
            (Effect::Committed, mode) => mode,
            // `BEGIN` also unlocks the tables.
            (Effect::Began, AutocommitOff | TablesLockedAutocommitOff) => AutocommitOff,
            (Effect::Began, _) => ScriptTransaction,
            (Effect::Autocommit(true), AutocommitOff) => PerBatch,
            (Effect::Autocommit(true), TablesLockedAutocommitOff) => TablesLocked,
            // `autocommit` was on already, so nothing was committed.
            (Effect::Autocommit(true), mode) => mode,
            (Effect::Autocommit(false), TablesLocked | TablesLockedAutocommitOff) => TablesLockedAutocommitOff,
            (Effect::Autocommit(false), _) => AutocommitOff,
            (Effect::LockedTables, AutocommitOff | TablesLockedAutocommitOff) => TablesLockedAutocommitOff,
            (Effect::LockedTables, _) => TablesLocked,
            (Effect::UnlockedTables, TablesLockedAutocommitOff) => AutocommitOff,
            (Effect::UnlockedTables, TablesLocked) => PerBatch,
            // Without locked tables it does nothing.
            (Effect::UnlockedTables, mode) => mode,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Effect::*;
    use super::TxMode::*;

    #[test]
    fn the_mode_follows_the_script() {
        for (effects, expected) in [
            (&[Began, None, Committed][..], PerBatch),
            (&[Autocommit(false), Began, Committed], AutocommitOff),
            (&[Autocommit(false), Committed, Autocommit(true)], PerBatch),
            (&[Began, Autocommit(true)], ScriptTransaction),
            (&[Began, Autocommit(false), Committed], AutocommitOff),
            (&[LockedTables, Committed], TablesLocked),
            (&[LockedTables, Autocommit(false), UnlockedTables], AutocommitOff),
            (&[Autocommit(false), LockedTables, Autocommit(true), UnlockedTables], PerBatch),
            (&[LockedTables, Began], ScriptTransaction),
            (&[Began, LockedTables], TablesLocked),
            (&[UnlockedTables], PerBatch),
        ] {
            let mode = effects.iter().fold(PerBatch, |mode, effect| mode.after(*effect));
            assert_eq!(mode, expected, "{effects:?}");
        }
    }
}
