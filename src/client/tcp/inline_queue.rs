//! FIFO queue with an inline first entry: a connection with one message in flight needs no heap memory.

use std::collections::VecDeque;

/// FIFO queue with an inline first entry.
#[derive(Debug)]
pub(in crate::client) struct InlineQueue<T> {
    first: Option<T>,
    /// Entries after the first; allocated when first needed. Most connections need none, and a pointer is smaller than
    /// an empty queue.
    #[allow(clippy::box_collection)]
    rest: Option<Box<VecDeque<T>>>,
}

impl<T> Default for InlineQueue<T> {
    fn default() -> Self {
        Self { first: None, rest: None }
    }
}

impl<T> InlineQueue<T> {
    /// Number of entries.
    #[inline]
    pub(in crate::client) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    /// The oldest entry.
    #[inline]
    pub(in crate::client) fn front(&self) -> Option<&T> {
        self.first.as_ref()
    }

    /// The oldest entry.
    #[inline]
    pub(in crate::client) fn front_mut(&mut self) -> Option<&mut T> {
        self.first.as_mut()
    }

    /// The newest entry.
    #[inline]
    pub(in crate::client) fn back_mut(&mut self) -> Option<&mut T> {
        match self.rest.as_mut().and_then(|rest| rest.back_mut()) {
            None => self.first.as_mut(),
            last => last,
        }
    }

    /// Appends an entry.
    #[inline]
    pub(in crate::client) fn push_back(&mut self, entry: T) {
        if self.first.is_none() {
            self.first = Some(entry);
        } else {
            self.rest.get_or_insert_default().push_back(entry);
        }
    }

    /// Removes the oldest entry.
    #[inline]
    pub(in crate::client) fn pop_front(&mut self) -> Option<T> {
        let next = self.rest.as_mut().and_then(|rest| rest.pop_front());
        std::mem::replace(&mut self.first, next)
    }

    /// All entries, oldest first.
    pub(in crate::client) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(self.rest.iter().flat_map(|rest| rest.iter()))
    }

    /// Entries from index `index` on, oldest first.
    #[inline]
    pub(in crate::client) fn iter_mut_from(&mut self, index: usize) -> impl Iterator<Item = &mut T> {
        let first = self.first.as_mut().filter(|_| index == 0);
        let rest = self.rest.as_mut().map(|rest| rest.range_mut(index.saturating_sub(1)..));
        first.into_iter().chain(rest.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::InlineQueue;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn it_behaves_like_vec_deque(steps in prop::collection::vec(prop::option::weighted(0.6, any::<u8>()), 0..60), from in 0usize..4) {
            let (mut queue, mut expected) = (InlineQueue::default(), VecDeque::new());
            for step in steps {
                if let Some(entry) = step {
                    queue.push_back(entry);
                    expected.push_back(entry);
                } else {
                    prop_assert_eq!(queue.pop_front(), expected.pop_front());
                }
                prop_assert_eq!(queue.len(), expected.len());
                prop_assert_eq!(queue.front(), expected.front());
                prop_assert_eq!(queue.front_mut(), expected.front_mut());
                prop_assert_eq!(queue.back_mut(), expected.back_mut());
                prop_assert!(queue.iter().eq(expected.iter()));
                let from = from.min(expected.len());
                prop_assert!(queue.iter_mut_from(from).eq(expected.range_mut(from..)));
            }
        }
    }
}
