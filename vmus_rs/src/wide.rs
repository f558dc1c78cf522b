//! Loops compiled once for each width of vectors, of which the machine's widest runs.

/// A function whose body is compiled for the baseline, AVX2 and AVX-512.
///
/// What the body calls must be inlined into it to gain: closures and iterator chains are not always.
/// No sum is reordered and nothing fused, so that all versions give the same bits.
macro_rules! wide {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident[$($generic:tt)*][$($given:tt)*]($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)?
        $body:block
    ) => {
        $(#[$meta])*
        $vis fn $name<$($generic)*>($($arg: $type),*) $(-> $out)? {
            struct Work<$($generic)*> { $($arg: $type),* }
            impl<$($generic)*> pulp::NullaryFnOnce for Work<$($given)*> {
                type Output = $crate::wide::output!($($out)?);

                // The features are those of where it is inlined.
                #[inline(always)]
                fn call(self) -> Self::Output {
                    let Self { $($arg),* } = self;
                    $body
                }
            }
            pulp::Arch::new().dispatch(Work { $($arg),* })
        }
    };
}

/// A return type that may be left out.
macro_rules! output {
    () => {
        ()
    };
    ($type:ty) => {
        $type
    };
}

pub(crate) use {output, wide};
