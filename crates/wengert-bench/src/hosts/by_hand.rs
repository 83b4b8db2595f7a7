//! Functions of hosts as one writes them by hand: the same arithmetic, and derivatives worked out on paper.

/// The effects and standard errors of the eight schools (Rubin, "Estimation in parallel randomized experiments", 1981).
pub(super) const EFFECTS: [f64; 8] = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0];
pub(super) const ERRORS: [f64; 8] = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0];

/// The log density of the eight schools at the mean, the logarithm of the deviation, and the eight standardised effects; and its gradient.
#[inline(never)]
pub(super) fn schools(x: &[f64], g: &mut [f64]) -> f64 {
    let (mu, log_tau, eta) = (x[0], x[1], &x[2..10]);
    let tau = log_tau.exp();
    let (mut density, mut by_mu, mut by_tau) = (0.0, 0.0, 0.0);
    for i in 0..8 {
        let z = (EFFECTS[i] - (mu + tau * eta[i])) / ERRORS[i];
        let by_theta = z / ERRORS[i];
        density -= 0.5 * (z * z + eta[i] * eta[i]);
        by_mu += by_theta;
        by_tau += by_theta * eta[i];
        g[2 + i] = by_theta * tau - eta[i];
    }
    let (m, s) = (mu / 5.0, tau / 5.0);
    let cauchy = 1.0 + s * s;
    g[0] = by_mu - m / 5.0;
    g[1] = (by_tau - 2.0 * s / 5.0 / cauchy) * tau + 1.0;
    density - 0.5 * m * m - cauchy.ln() + log_tau
}

/// Robertson's chemical reactions.
#[inline(never)]
pub(super) fn robertson(x: &[f64], y: &mut [f64]) -> f64 {
    let (slow, fast, rest) = (0.04 * x[0], 1e4 * x[1] * x[2], 3e7 * x[1] * x[1]);
    y[0] = fast - slow;
    y[1] = slow - fast - rest;
    y[2] = rest;
    0.0
}

/// The same along a direction.
#[inline(never)]
pub(super) fn robertson_jvp(x: &[f64], v: &[f64], y: &mut [f64]) {
    let slow = 0.04 * v[0];
    let (fast, rest) = (1e4 * (v[1] * x[2] + x[1] * v[2]), 6e7 * x[1] * v[1]);
    y[0] = fast - slow;
    y[1] = slow - fast - rest;
    y[2] = rest;
}

/// Rosenbrock's function and its gradient.
#[inline(never)]
pub(super) fn rosenbrock(x: &[f64], g: &mut [f64]) -> f64 {
    g.fill(0.0);
    let mut value = 0.0;
    for i in 0..x.len() - 1 {
        let (a, b) = (1.0 - x[i], x[i + 1] - x[i] * x[i]);
        value += a * a + 100.0 * b * b;
        g[i] += -2.0 * a - 400.0 * x[i] * b;
        g[i + 1] += 200.0 * b;
    }
    value
}

/// Cells of the Brusselator.
pub(super) const CELLS: usize = 100;
/// Its diffusion, over the square of a cell.
pub(super) const DIFFUSION: f64 = 0.02 * 101.0 * 101.0;

/// The Brusselator with diffusion along a line, u before v (Hairer and Wanner, "Solving Ordinary Differential Equations II", IV.1).
#[inline(never)]
pub(super) fn brusselator(x: &[f64], y: &mut [f64]) -> f64 {
    let (u, v) = x.split_at(CELLS);
    let (du, dv) = y.split_at_mut(CELLS);
    let at = |w: &[f64], i: usize, edge: f64| if i == 0 || i > CELLS { edge } else { w[i - 1] };
    for i in 1..=CELLS {
        let (a, b) = (at(u, i, 1.0), at(v, i, 3.0));
        let product = a * a * b;
        du[i - 1] = 1.0 + product - 4.0 * a + DIFFUSION * (at(u, i - 1, 1.0) - 2.0 * a + at(u, i + 1, 1.0));
        dv[i - 1] = 3.0 * a - product + DIFFUSION * (at(v, i - 1, 3.0) - 2.0 * b + at(v, i + 1, 3.0));
    }
    0.0
}

/// The same along a direction.
#[inline(never)]
pub(super) fn brusselator_jvp(x: &[f64], d: &[f64], y: &mut [f64]) {
    let ((u, v), (p, q)) = (x.split_at(CELLS), d.split_at(CELLS));
    let (du, dv) = y.split_at_mut(CELLS);
    let at = |w: &[f64], i: usize| if i == 0 || i > CELLS { 0.0 } else { w[i - 1] };
    for i in 1..=CELLS {
        let (a, b, p0, q0) = (u[i - 1], v[i - 1], p[i - 1], q[i - 1]);
        let product = 2.0 * a * p0 * b + a * a * q0;
        du[i - 1] = product - 4.0 * p0 + DIFFUSION * (at(p, i - 1) - 2.0 * p0 + at(p, i + 1));
        dv[i - 1] = 3.0 * p0 - product + DIFFUSION * (at(q, i - 1) - 2.0 * q0 + at(q, i + 1));
    }
}
