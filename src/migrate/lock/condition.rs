//! Types that both kinds of lock share.

/// A description of the session that holds the lock.
pub struct HeldBy(pub String);

/// SQL that makes a change of `ai_migrations` succeed only while the lock is held.
#[derive(Debug)]
pub struct LockCondition {
    /// Condition of an `INSERT … SELECT` or a `DELETE`.
    pub condition: String,
    /// Condition of an `UPDATE`.
    pub update_condition: String,
    /// Follows the table's name in an `UPDATE`.
    pub update_join: String,
    /// Precedes the assignments of an `UPDATE`.
    pub update_set: String,
    /// The lock's own table, if it has one.
    pub table: Option<String>,
}

impl LockCondition {
    /// No lock is held, so every change is refused.
    pub fn never() -> Self {
        Self::of("FALSE".to_owned())
    }

    /// The same condition for every change.
    pub fn of(condition: String) -> Self {
        Self {
            update_condition: condition.clone(),
            condition,
            update_join: String::new(),
            update_set: String::new(),
            table: None,
        }
    }
}
