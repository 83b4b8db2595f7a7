//! How well a classifier does, class by class.

use ndarray::{Array2, ArrayBase, Data, Ix2};

use crate::error::{Error, Result};

/// How well one class is told from the others. Where nothing can be divided, as for a class without examples, a share is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassMetrics {
    /// Of the examples taken for this class the share that are of it.
    pub precision: f64,
    /// Of the examples of this class the share that were taken for it.
    pub recall: f64,
    /// The harmonic mean of both.
    pub f1: f64,
    /// Examples of this class.
    pub count: u64,
}

/// The measures of each class by a confusion matrix: how many examples of each class (row) were taken for each class (column). An error unless it is
/// square.
///
/// ```
/// use ndarray::array;
/// let all = wengert_nn::class_metrics(&array![[3u64, 1], [2, 4]])?;
/// assert_eq!((all[0].precision, all[0].recall, all[0].count), (0.6, 0.75, 4));
/// assert!((all[1].f1 - 8.0 / 11.0).abs() < 1e-15);
/// # Ok::<(), wengert_nn::Error>(())
/// ```
pub fn class_metrics(confusion: &Array2<u64>) -> Result<Vec<ClassMetrics>> {
    let (rows, columns) = confusion.dim();
    if rows != columns {
        return Err(Error::Argument(format!("a confusion matrix of {rows} rows and {columns} columns")));
    }
    let share = |part: u64, all: u64| if all == 0 { 0.0 } else { part as f64 / all as f64 };
    let class = |c: usize| {
        let (hits, count) = (confusion[(c, c)], confusion.row(c).sum());
        let (taken, both) = (confusion.column(c).sum(), count + confusion.column(c).sum());
        ClassMetrics {
            precision: share(hits, taken),
            recall: share(hits, count),
            f1: share(2 * hits, both),
            count,
        }
    };
    Ok((0..rows).map(class).collect())
}

/// The share of rows whose label is among the `k` largest numbers; equal ones count in the order of their classes. An error unless each row has a label, and
/// each label a column.
///
/// ```
/// use ndarray::array;
/// let scores = array![[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]];
/// assert_eq!(wengert_nn::top_k_accuracy(&scores, &[2, 2], 2)?, 0.5);
/// # Ok::<(), wengert_nn::Error>(())
/// ```
pub fn top_k_accuracy<S: Data<Elem = f64>>(
    scores: &ArrayBase<S, Ix2>,
    labels: &[u32],
    k: usize,
) -> Result<f64> {
    let (rows, classes) = scores.dim();
    if rows != labels.len() || rows == 0 {
        return Err(Error::Argument(format!("{rows} rows have {} labels", labels.len())));
    }
    if let Some(label) = labels.iter().find(|label| **label as usize >= classes) {
        return Err(Error::Argument(format!("the label {label} of {classes} classes")));
    }
    let among = |(row, &label): (ndarray::ArrayView1<'_, f64>, &u32)| {
        let own = row[label as usize];
        let better = |(class, x): (usize, &f64)| *x > own || (*x == own && class < label as usize);
        !own.is_nan() && row.iter().enumerate().filter(|&at| better(at)).count() < k
    };
    let hits = scores.rows().into_iter().zip(labels).filter(|&at| among(at)).count();
    Ok(hits as f64 / rows as f64)
}
