//! Scratch memory that threads take, use and give back, so that none is made twice.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Values that cost something to make; at most as many as are used at once.
#[derive(Debug)]
pub struct Pool<T> {
    idle: Mutex<Vec<T>>,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { idle: Mutex::new(Vec::new()) }
    }
}

impl<T> Pool<T> {
    /// Runs `work` with an idle value, or with a new one where there is none.
    pub fn with<R>(&self, make: impl FnOnce() -> T, work: impl FnOnce(&mut T) -> R) -> R {
        let idle = self.lock().pop();
        let mut value = idle.unwrap_or_else(make);
        let result = work(&mut value);
        self.lock().push(value);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
