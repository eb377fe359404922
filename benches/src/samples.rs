//! Contenders that take turns, and the medians of their figures and of the ratios between them.

/// A contender's name, and one pass of it, which returns a figure.
pub type Pass<'a> = (&'static str, Box<dyn Fn() -> f64 + 'a>);

#[derive(Debug)]
pub struct Samples {
    names: Vec<&'static str>,
    /// The figures of each contender, one for each turn.
    figures: Vec<Vec<f64>>,
}

impl Samples {
    /// Runs each contender once per turn; every other turn backwards, so that none always runs
    /// after the same one.
    pub fn take(turns: usize, passes: &[Pass<'_>]) -> Self {
        let mut figures = vec![Vec::new(); passes.len()];
        for turn in 0..turns {
            for place in 0..passes.len() {
                let index = if turn % 2 == 0 { place } else { passes.len() - 1 - place };
                figures[index].push(passes[index].1());
            }
        }
        Self { names: passes.iter().map(|(name, _)| *name).collect(), figures }
    }

    pub fn medians(&self) -> Vec<(&'static str, f64)> {
        self.names
            .iter()
            .zip(&self.figures)
            .map(|(name, figures)| (*name, median(figures.clone())))
            .collect()
    }

    pub fn median(&self, name: &str) -> f64 {
        median(self.of(name).to_vec())
    }

    /// The median of the ratios of the two, turn by turn.
    pub fn ratio(&self, name: &str, to: &str) -> f64 {
        median(self.of(name).iter().zip(self.of(to)).map(|(a, b)| a / b).collect())
    }

    fn of(&self, name: &str) -> &[f64] {
        let index =
            self.names.iter().position(|known| *known == name).expect("a contender of this row");
        &self.figures[index]
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 {
        figures[middle]
    } else {
        (figures[middle - 1] + figures[middle]) / 2.0
    }
}
