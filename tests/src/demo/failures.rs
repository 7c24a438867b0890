//! What went wrong while things were cleared away.

use anyhow::{Result, ensure};

/// A list of failures: none of them keeps the rest from being cleared away, and none is forgotten.
#[derive(Debug, Default)]
pub struct Failures(Vec<String>);

impl Failures {
    /// The result, if there is one; else its error is noted as a failure to do `what`.
    pub fn note<T>(&mut self, what: &str, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.0.push(format!("cannot {what}: {error:#}"))).ok()
    }

    /// All of them in one error.
    pub fn into_result(self) -> Result<()> {
        ensure!(self.0.is_empty(), "{}", self.0.join("; "));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn every_failure_is_told() {
        let mut failures = Failures::default();
        assert_eq!(failures.note("see", Ok(1)), Some(1));
        assert_eq!(failures.note::<()>("stop vk-host", Err(anyhow!("it hangs").context("kill it"))), None);
        assert_eq!(failures.note::<()>("remove the node", Err(anyhow!("refused"))), None);
        let told = failures.into_result().unwrap_err().to_string();
        assert_eq!(told, "cannot stop vk-host: kill it: it hangs; cannot remove the node: refused");
        assert!(Failures::default().into_result().is_ok());
    }
}
