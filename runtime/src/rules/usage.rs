//! How often each version of a plugin was called, and what came of it, until somebody writes that down.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Fault;

/// Calls of one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// The plugin.
    pub name: String,
    /// How many calls.
    pub calls: u64,
    /// Of these: it said that it cannot tell.
    pub errors: u64,
    /// Of these: it trapped, ran into a limit, or gave no answer in time.
    pub faults: u64,
    /// How long all of them took.
    pub took: Duration,
    /// The longest.
    pub took_max: Duration,
}

/// Calls by version since they were taken last.
#[derive(Debug, Default)]
pub struct Usage(Mutex<HashMap<Arc<str>, Used>>);

impl Usage {
    /// Counts a call.
    pub fn count<T>(&self, name: &str, digest: Arc<str>, verdict: &Result<T, Fault>, took: Duration) {
        let (errors, faults) = match verdict {
            Ok(_) => (0, 0),
            Err(Fault::Transient(_) | Fault::Permanent(_)) => (1, 0),
            Err(Fault::Broken(_) | Fault::Missing) => (0, 1),
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used = all.entry(digest).or_insert_with(|| Used { name: name.to_owned(), ..Used::default() });
        used.add(&Used { name: String::new(), calls: 1, errors, faults, took, took_max: took });
    }

    /// All that was counted, which is over with that.
    pub fn take(&self) -> HashMap<Arc<str>, Used> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was taken could not be written down.
    pub fn put_back(&self, taken: HashMap<Arc<str>, Used>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (digest, used) in taken {
            let name = used.name.clone();
            all.entry(digest).or_insert_with(|| Used { name, ..Used::default() }).add(&used);
        }
    }
}

impl Used {
    fn add(&mut self, more: &Used) {
        self.calls += more.calls;
        self.errors += more.errors;
        self.faults += more.faults;
        self.took += more.took;
        self.took_max = self.took_max.max(more.took_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_written_is_counted_with_what_came_since() {
        let (usage, digest) = (Usage::default(), Arc::<str>::from("d"));
        let ms = Duration::from_millis;
        usage.count("pay", Arc::clone(&digest), &Ok(()), ms(7));
        usage.count("pay", Arc::clone(&digest), &Err::<(), _>(Fault::Broken("trap".into())), ms(2));
        let taken = usage.take();
        assert!(usage.take().is_empty(), "what is taken is over");
        usage.count("pay", Arc::clone(&digest), &Err::<(), _>(Fault::Transient("later".into())), ms(4));
        usage.put_back(taken);
        let used = Used { name: "pay".into(), calls: 3, errors: 1, faults: 1, took: ms(13), took_max: ms(7) };
        assert_eq!(usage.take(), HashMap::from([(digest, used)]));
    }
}
