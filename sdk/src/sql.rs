//! Reading from a database, by the statements that the manifest declares and the operator grants.

mod param;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use self::param::Param;
use crate::RuleError;
use crate::context::Host;

/// The database of a binding; from [`Context::sql`](crate::Context::sql).
///
/// `statement` is a name of the manifest's table `[sql.BINDING]`, `params` are its `$1`, `$2`, …: `&[&order_id, &"eur"]`.
/// Too many rows or bytes: permanent. A statement that outlives the call's time: transient.
pub struct Sql<'a> {
    host: &'a Host,
    binding: &'a str,
}

impl<'a> Sql<'a> {
    pub(crate) fn new(host: &'a Host, binding: &'a str) -> Self {
        Self { host, binding }
    }

    /// All rows.
    pub fn rows(&self, statement: &str, params: &[&dyn Param]) -> Result<Vec<Row>, RuleError> {
        let params: Vec<_> = params.iter().map(|param| param.to_text()).collect();
        let rows = self.host.sql_query(self.binding, statement, &params)?;
        rows.iter().map(|row| self.parse(statement, row)).collect()
    }

    /// The only row, or `None`. More than one is permanent.
    pub fn row(&self, statement: &str, params: &[&dyn Param]) -> Result<Option<Row>, RuleError> {
        let mut rows = self.rows(statement, params)?;
        if rows.len() > 1 {
            return Err(RuleError::Permanent(format!(
                "{} gave {} rows, at most one was expected",
                self.name(statement),
                rows.len()
            )));
        }
        Ok(rows.pop())
    }

    /// The only row as a struct with a field for each column, or `None`. More than one row, or another shape, is
    /// permanent.
    pub fn one<T: DeserializeOwned>(&self, statement: &str, params: &[&dyn Param]) -> Result<Option<T>, RuleError> {
        let Some(row) = self.row(statement, params)? else { return Ok(None) };
        serde_json::from_value(Value::Object(row.columns)).map(Some).map_err(|e| self.unreadable(statement, &e))
    }

    fn parse(&self, statement: &str, row: &str) -> Result<Row, RuleError> {
        serde_json::from_str(row).map(|columns| Row { columns }).map_err(|e| self.unreadable(statement, &e))
    }

    fn unreadable(&self, statement: &str, e: &serde_json::Error) -> RuleError {
        RuleError::Permanent(format!("a row of {} cannot be read: {e}", self.name(statement)))
    }

    fn name(&self, statement: &str) -> String {
        format!("statement {statement} of sql.{}", self.binding)
    }
}

/// A row: values by column name.
///
/// Numeric types are numbers; dates, times, UUIDs, enums and bytes (`\x…`) are text; arrays and json are as they are.
/// Where a `numeric` must be exact, let the statement cast it to text.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    columns: Map<String, Value>,
}

impl Row {
    /// The value of a column; `Option<T>` for one that may be null. Permanent, with the column's name, if there is no
    /// such column or its value is no `T`.
    pub fn get<T: DeserializeOwned>(&self, column: &str) -> Result<T, RuleError> {
        let value = self
            .value(column)
            .ok_or_else(|| RuleError::Permanent(format!("the row has no column {column}: look at the statement")))?;
        T::deserialize(value).map_err(|e| RuleError::Permanent(format!("column {column} cannot be read: {e}")))
    }

    /// The value of a column as it came; `None` if there is no such column.
    pub fn value(&self, column: &str) -> Option<&Value> {
        self.columns.get(column)
    }
}
