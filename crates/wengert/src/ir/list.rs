//! Short lists.

use std::fmt;
use std::ops::Deref;

use smallvec::SmallVec;

/// A list that mostly has one element or two, made of one element or collected from several.
///
/// ```
/// use wengert::ir::List;
/// let (one, two): (List<i32>, List<i32>) = (7.into(), [1, 2].into());
/// assert_eq!((one.len(), two.iter().sum::<i32>()), (1, 3));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct List<T>(SmallVec<[T; 2]>);

impl<T> List<T> {
    /// An empty list.
    pub fn new() -> Self {
        Self(SmallVec::new())
    }
    /// Adds an element behind the others.
    pub fn push(&mut self, element: T) {
        self.0.push(element);
    }
}
impl<T> Default for List<T> {
    fn default() -> Self {
        Self::new()
    }
}
impl<T> From<T> for List<T> {
    fn from(element: T) -> Self {
        std::iter::once(element).collect()
    }
}
impl<T, const N: usize> From<[T; N]> for List<T> {
    fn from(elements: [T; N]) -> Self {
        elements.into_iter().collect()
    }
}
impl<T> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Self(elements.into_iter().collect())
    }
}
impl<T> IntoIterator for List<T> {
    type Item = T;
    type IntoIter = IntoElements<T>;
    fn into_iter(self) -> IntoElements<T> {
        IntoElements(self.0.into_iter())
    }
}
impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
/// The elements of a [`List`], in order.
pub struct IntoElements<T>(smallvec::IntoIter<[T; 2]>);
impl<T> Iterator for IntoElements<T> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        self.0.next()
    }
}
impl<T> Deref for List<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}
impl<T: fmt::Debug> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
