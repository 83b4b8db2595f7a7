//! What a plan is made for.

/// What planning takes from a machine: into how many tasks and tiles work is cut. It never decides what is added to
/// what, so plans for any two machines give the same bits; what does decide that is in `split_reduce` and in the kernels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    /// The work of a task: what takes much longer than to hand it to another thread.
    pub(super) task: usize,
    /// Tasks of a group, at most.
    pub(super) most_tasks: usize,
    /// The work that is worth a call of its own.
    pub(super) call: usize,
    /// Chunks of a task that multiplies matrices, at least: with fewer rows the other matrix is read too often.
    pub(super) rows: usize,
    /// The same where the other matrix leaves the second cache.
    pub(super) many_rows: usize,
    /// Examples of a task that convolves, at least.
    #[cfg(feature = "nets")]
    pub(super) examples: usize,
    /// Bytes of the second cache.
    pub(super) second_cache: usize,
    /// Bytes of the largest part of an array in a tile: a few of them stay in the first cache.
    pub(super) tile: usize,
    /// How much wider than another an array may be for both to be computed in the same tiles.
    pub(super) alike: usize,
    /// Outer axes with fewer chunks than this are too few.
    pub(super) few: usize,
}

impl Machine {
    /// The chunks that a task has at least for some of its nodes, from the most.
    pub(super) fn least_rows(&self) -> impl IntoIterator<Item = usize> {
        [
            self.many_rows,
            self.rows,
            #[cfg(feature = "nets")]
            self.examples,
        ]
    }

    /// A processor of today: measured on several, tuned to none.
    pub(crate) const THIS: Self = Self {
        task: 1 << 15,
        most_tasks: 64,
        call: 512,
        rows: 48,
        many_rows: 64,
        #[cfg(feature = "nets")]
        examples: 16,
        second_cache: 256 << 10,
        tile: 12 << 10,
        alike: 6,
        few: 16,
    };

    /// One on which a hundred numbers are many: its plans have tasks and tiles wherever there can be some.
    pub(crate) const TINY: Self = Self {
        task: 8,
        most_tasks: 64,
        call: 1,
        rows: 2,
        many_rows: 3,
        #[cfg(feature = "nets")]
        examples: 2,
        second_cache: 1 << 10,
        tile: 64,
        alike: 2,
        few: 3,
    };

    /// One on which nothing is worth being cut.
    pub(crate) const HUGE: Self = Self {
        task: 1 << 60,
        most_tasks: 1,
        call: 1 << 60,
        rows: 1 << 40,
        many_rows: 1 << 40,
        #[cfg(feature = "nets")]
        examples: 1 << 40,
        second_cache: 1 << 60,
        tile: 1 << 50,
        alike: 1 << 20,
        few: 1,
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::exec::graph::Graph;
    use crate::exec::schedule::Schedule;
    use crate::ir::Recorder;

    #[test]
    fn a_hundred_numbers_are_many_for_a_tiny_machine_alone() {
        let cuts = |machine: &Machine| {
            let t = Recorder::default();
            let x = t.input(DType::F64, [12, 16]);
            let y = (x.exp().matmul(t.input(DType::F64, [16, 16])) * 2.0).tanh();
            let (tape, ..) = t.so_far(t.outputs([y.sum(0), y.sum(1)]).unwrap()).unwrap();
            let schedule = Schedule::new(&mut Graph::new(&tape, true).unwrap(), machine).unwrap();
            let groups = || schedule.levels.iter().flatten();
            let tiles = |group: &crate::exec::schedule::Group| {
                let least = group.loops.iter().map(|tiles| tiles.tile).min().unwrap();
                group.chunks / group.tasks / least
            };
            (groups().map(|g| g.tasks).max().unwrap(), groups().map(tiles).max().unwrap())
        };
        assert_eq!((cuts(&Machine::THIS).0, cuts(&Machine::HUGE).0), (1, 1));
        let (tasks, tiles) = cuts(&Machine::TINY);
        assert!(tasks > 1 && tiles > 1, "{tasks} tasks, {tiles} tiles");
    }
}
