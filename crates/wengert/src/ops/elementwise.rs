//! How functions of one or two numbers are written.

/// One elementwise function: a unit struct, its `Elementwise` rules, and its method on `Var`.
macro_rules! unary {
    ($(#[$doc:meta])* $Op:ident, $name:ident, $domain:expr, |$v:ident| $eval:expr, |$x:ident, $y:ident| $partial:expr) => {
        #[derive(Clone, Copy)]
        pub(crate) struct $Op;
        impl $crate::ir::Elementwise<1> for $Op {
            fn name(&self) -> &'static str {
                stringify!($name)
            }
            fn domain(&self, _: usize) -> $crate::ir::Domain {
                $domain
            }
            fn eval<L: $crate::Lane>(&self, [$v]: [L; 1]) -> L {
                $eval
            }
            fn partial<'t>(&self, _: usize, [$x]: [$crate::Var<'t>; 1], $y: $crate::Var<'t>) -> $crate::ir::Partial<'t> {
                $partial
            }
        }
        impl<'t> $crate::Var<'t> {
            $(#[$doc])*
            #[track_caller]
            pub fn $name(self) -> $crate::Var<'t> {
                self.apply($crate::ir::Op::elementwise($Op))
            }
        }
    };
}

/// One elementwise function of two numbers, broadcast to their common shape, likewise: domains and partial derivatives are those
/// of operand `i`.
macro_rules! binary {
    ($(#[$doc:meta])* $Op:ident, $name:ident, |$d:ident| $domain:expr, |$a:ident, $b:ident| $eval:expr, |$i:ident, $x:ident, $z:ident, $y:ident| $partial:expr) => {
        #[derive(Clone, Copy)]
        pub(crate) struct $Op;
        impl $crate::ir::Elementwise<2> for $Op {
            fn name(&self) -> &'static str {
                stringify!($name)
            }
            fn domain(&self, $d: usize) -> $crate::ir::Domain {
                $domain
            }
            fn eval<L: $crate::Lane>(&self, [$a, $b]: [L; 2]) -> L {
                $eval
            }
            fn partial<'t>(
                &self,
                $i: usize,
                [$x, $z]: [$crate::Var<'t>; 2],
                $y: $crate::Var<'t>,
            ) -> $crate::ir::Partial<'t> {
                $partial
            }
        }
        impl<'t> $crate::Var<'t> {
            $(#[$doc])*
            #[track_caller]
            pub fn $name(self, other: impl $crate::ir::IntoVar<'t>) -> $crate::Var<'t> {
                self.operation(stringify!($name), || {
                    self.binary($crate::ir::Op::elementwise($Op), other.into_var(self))
                })
            }
        }
    };
}

pub(super) use {binary, unary};
