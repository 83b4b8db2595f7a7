//! Sorting, compiled once.

/// Sorts by two numbers, those of equal ones in the order that they have. Sorts of the standard library are compiled anew for
/// each type and key, which adds up to more than the passes that call them.
pub(crate) fn sort_by_key<T: Copy>(items: &mut [T], key: impl Fn(T) -> (u64, u64)) {
    let mut order: Vec<(u64, u64, usize)> = Vec::with_capacity(items.len());
    for (i, &item) in items.iter().enumerate() {
        let (major, minor) = key(item);
        order.push((major, minor, i));
    }
    if order.is_sorted() {
        return;
    }
    order.sort_unstable();
    let before = items.to_vec();
    for (item, (_, _, i)) in items.iter_mut().zip(order) {
        *item = before[i];
    }
}

/// Sorts positions.
pub(crate) fn sort(items: &mut [usize]) {
    sort_by_key(items, |item| (item as u64, 0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_keep_their_order() {
        let mut items: Vec<(u64, u64, usize)> =
            (0..500).map(|i| (i * 7919 % 13, i * 104_729 % 5, i as usize)).collect();
        let mut due = items.clone();
        due.sort_by_key(|item| (item.0, item.1));
        sort_by_key(&mut items, |item| (item.0, item.1));
        assert_eq!(items, due);
        let mut positions = vec![3, 1, 2, 1];
        sort(&mut positions);
        assert_eq!(positions, [1, 1, 2, 3]);
    }
}
