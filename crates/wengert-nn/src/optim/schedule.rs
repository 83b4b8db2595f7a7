//! Learning rates over time.

use std::f64::consts::PI;

/// How the learning rate changes from step to step: a factor of the rate that was asked for.
///
/// ```
/// use wengert_nn::Schedule;
/// let cosine = Schedule::Cosine { steps: 100 };
/// assert_eq!(cosine.factor(0), 1.0);
/// assert!((cosine.factor(50) - 0.5).abs() < 1e-15);
/// let warm = Schedule::WarmUp { steps: 10, then: Box::new(cosine) };
/// assert_eq!(warm.factor(4), 0.5);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Schedule {
    /// It stays.
    #[default]
    Constant,
    /// It is multiplied by a factor after every so many steps.
    Step {
        /// The steps.
        every: usize,
        /// The factor.
        factor: f64,
    },
    /// It falls along half a cosine to zero in so many steps, and stays there (Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm
    /// restarts", 2017).
    Cosine {
        /// The steps.
        steps: usize,
    },
    /// It grows linearly for so many steps, and goes on by another schedule, whose first step is the one behind.
    WarmUp {
        /// The steps.
        steps: usize,
        /// How it goes on.
        then: Box<Schedule>,
    },
    /// It rises along a cosine from 1/25 for 30 % of all steps, and falls along one to 1/250,000 (Smith, "A disciplined approach to neural network
    /// hyper-parameters", 2018).
    OneCycle {
        /// All steps.
        steps: usize,
    },
}

impl Schedule {
    /// By what the rate of a step, counted from 0, is multiplied.
    pub fn factor(&self, step: usize) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Step { every, factor } => factor.powf((step / (*every).max(1)) as f64),
            Self::Cosine { steps } => {
                let done = step.min(*steps) as f64 / (*steps).max(1) as f64;
                0.5 * (1.0 + (PI * done).cos())
            }
            Self::WarmUp { steps, .. } if step < *steps => (step + 1) as f64 / *steps as f64,
            Self::WarmUp { steps, then } => then.factor(step - steps),
            Self::OneCycle { steps } => one_cycle(step, *steps),
        }
    }
}

fn one_cycle(step: usize, steps: usize) -> f64 {
    const START: f64 = 1.0 / 25.0;
    const END: f64 = START / 1e4;
    const RISING: f64 = 0.3;
    let between = |from: f64, to: f64, done: f64| to + (from - to) / 2.0 * (1.0 + (PI * done).cos());
    let last = (steps as f64 - 1.0).max(1.0);
    let (at, top) = ((step as f64).min(last), (RISING * steps as f64 - 1.0).max(0.0));
    if at <= top {
        let done = if top > 0.0 { at / top } else { 1.0 };
        between(START, 1.0, done)
    } else {
        between(1.0, END, (at - top) / (last - top))
    }
}

/// Makes the learning rate smaller where a measure no longer falls: after so many observations without a smaller one than the smallest so far.
///
/// ```
/// use wengert_nn::Plateau;
/// let mut plateau = Plateau::new(0.5, 1);
/// let factors = [1.0, 0.8, 0.9, 0.9, 0.7].map(|loss| plateau.observe(loss));
/// assert_eq!(factors, [1.0, 1.0, 1.0, 0.5, 0.5]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Plateau {
    /// By what the rate is multiplied.
    pub factor: f64,
    /// Observations that it waits for.
    pub patience: usize,
    /// The smallest so far.
    pub best: f64,
    /// Observations since.
    pub waited: usize,
    /// By what it was multiplied in all.
    pub total: f64,
}

impl Plateau {
    /// One that has seen nothing.
    pub fn new(factor: f64, patience: usize) -> Self {
        Self { factor, patience, best: f64::INFINITY, waited: 0, total: 1.0 }
    }

    /// Takes note of a measure, and returns by what the rate is multiplied from now on.
    pub fn observe(&mut self, measure: f64) -> f64 {
        if measure < self.best {
            (self.best, self.waited) = (measure, 0);
            return self.total;
        }
        self.waited = self.waited.saturating_add(1);
        if self.waited > self.patience {
            (self.total, self.waited) = (self.total * self.factor, 0);
        }
        self.total
    }
}
