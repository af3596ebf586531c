//! The lazy array: a shape, where it is cut, and what is to be computed for every chunk.
//!
//! Operations build descriptions and run nothing. Elementwise operations are kept as a program that becomes one
//! task a chunk, or is fused into the reduction that follows. A transpose is a remark, not a copy: contractions
//! over either axis run on the chunks as they lie. Who computes is not known here.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use ndarray::{ArrayD, IxDyn, SliceInfoElem};
use phalanx_engine::{
    data::DataError,
    graph::{AnyDelayed, Collection, Delayed},
    value::{Portable, Value},
};

use crate::{
    block::{Block, broken},
    chunks::Chunks,
    error::{Error, Result},
    panel::PANEL,
    program::Program,
    random::{Distribution, Draw},
    regrid::{self, Part},
    tasks,
};

/// A lazy array of `f64` with one or two axes (or none: a single number), cut into chunks on [`PANEL`] borders.
///
/// The numbers that come out do not depend on the cuts, the number of workers, or what is computed where: every
/// sum and product runs panel by panel in one fixed tree, see [`panel`](crate::panel).
///
/// Methods that can fail return a [`Result`](crate::Result). Operators (`+ - * /` between arrays and with
/// numbers) broadcast as NumPy's do and panic on shapes that do not fit, like ndarray's; `try_add` and its
/// siblings return the error instead.
///
/// A client of the runtime crate brings the numbers home as an [`ArrayD`], or leaves them on the workers with
/// `persist`.
///
/// ```
/// use ndarray::Array2;
/// use phalanx_array::ChunkedArray;
///
/// # fn main() -> phalanx_array::Result<()> {
/// let x = ChunkedArray::from_array(Array2::<f64>::ones((10_000, 20)), 1024)?; // rows in a chunk
/// let standardised = (&x - &x.mean_axis(0)?) / &x.std_axis(0, 0.0)?;
/// let gram = standardised.t().dot(&standardised)?;
/// assert_eq!((gram.shape(), x.n_chunks()), (vec![20, 20], 10));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ChunkedArray {
    pub(crate) expression: Arc<Expression>,
    /// Whether the array is the transpose of the expression.
    pub(crate) transposed: bool,
}

/// A program for every chunk of a grid.
pub(crate) struct Expression {
    pub(crate) axes: Vec<Chunks>,
    pub(crate) program: Program,
    /// What the program's inputs are: cut as the grid is, or of length one where they are spread.
    pub(crate) inputs: Vec<Arc<Stored>>,
    /// The chunks, described once and shared by everything built on them.
    stored: OnceLock<Arc<Stored>>,
    stored_transposed: OnceLock<Arc<Stored>>,
}

/// Chunks that are tasks or results.
#[derive(Clone)]
pub(crate) struct Stored {
    axes: Vec<Chunks>,
    /// In row-major order of the grid.
    blocks: Vec<Delayed<Block>>,
    /// Whether they are read from where they lie, and can be again.
    is_read: bool,
}

impl ChunkedArray {
    /// Cuts an array that is here into chunks of `chunk_rows` rows. Its memory is shared, not copied.
    ///
    /// # Errors
    /// When it has more than two axes, or `chunk_rows` is no positive multiple of [`PANEL`] (unless one chunk
    /// holds all rows).
    pub fn from_array(array: impl Into<Block>, chunk_rows: usize) -> Result<Self> {
        let block: Block = array.into();
        let axes = axes_of("from_array", block.shape(), chunk_rows)?;
        let blocks = match axes.first() {
            Some(rows) => rows.ranges().map(|rows| Delayed::value(block.rows(rows))).collect(),
            None => vec![Delayed::value(block)],
        };
        Ok(Self::from_stored(Stored::new(axes, blocks)))
    }

    /// An array of chunks that tasks make: `axes` says how each axis is cut, `blocks` are in row-major order.
    ///
    /// # Errors
    /// When there are more than two axes, or not as many blocks as the cuts say.
    pub fn from_blocks(axes: Vec<Chunks>, blocks: Vec<Delayed<Block>>) -> Result<Self> {
        check_axes("from_blocks", axes.len())?;
        let expected = axes.iter().map(Chunks::n_chunks).product::<usize>();
        if blocks.len() != expected {
            return Err(Error::Parameter {
                name: "number of blocks",
                value: blocks.len().to_string(),
                expected: "as many as the grid has chunks",
            });
        }
        Ok(Self::from_stored(Stored::new(axes, blocks)))
    }

    /// The same for chunks that tasks read from files where they lie as numbers. To read one again is no dearer than to
    /// keep it on disk, so whoever goes over the array several times keeps in memory what fits, and reads the rest again.
    ///
    /// # Errors
    /// As [`from_blocks`](Self::from_blocks).
    pub fn from_reads(axes: Vec<Chunks>, blocks: Vec<Delayed<Block>>) -> Result<Self> {
        let Stored { axes, blocks, .. } = Arc::unwrap_or_clone(Self::from_blocks(axes, blocks)?.stored());
        Ok(Self::from_stored(Stored { axes, blocks, is_read: true }))
    }

    /// Whether the chunks are read by tasks that may as well read them again, see [`from_reads`](Self::from_reads).
    ///
    /// ```
    /// # use phalanx_array::ChunkedArray;
    /// let x = ChunkedArray::zeros(&[1000, 3], 256).unwrap();
    /// let lazy = ChunkedArray::from_reads(x.axes(), x.blocks()).unwrap();
    /// assert!(lazy.can_reread() && !x.can_reread() && !(&lazy + 1.).can_reread());
    /// ```
    pub fn can_reread(&self) -> bool {
        !self.transposed && self.expression.stored().is_read
    }

    /// An array of one number repeated; it takes no memory until it is combined with others.
    ///
    /// # Errors
    /// As [`from_array`](Self::from_array).
    pub fn full(shape: &[usize], value: f64, chunk_rows: usize) -> Result<Self> {
        Ok(Self::new(axes_of("full", shape, chunk_rows)?, Program::constant(value), Vec::new()))
    }

    /// Zeros.
    ///
    /// # Errors
    /// As [`from_array`](Self::from_array).
    pub fn zeros(shape: &[usize], chunk_rows: usize) -> Result<Self> {
        Self::full(shape, 0.0, chunk_rows)
    }

    /// Ones.
    ///
    /// # Errors
    /// As [`from_array`](Self::from_array).
    pub fn ones(shape: &[usize], chunk_rows: usize) -> Result<Self> {
        Self::full(shape, 1.0, chunk_rows)
    }

    /// `start, start + step, ...`: `n` numbers.
    ///
    /// # Errors
    /// As [`from_array`](Self::from_array).
    pub fn arange(start: f64, step: f64, n: usize, chunk_rows: usize) -> Result<Self> {
        let axes = axes_of("arange", &[n], chunk_rows)?;
        let (start, step) = (Delayed::value(start), Delayed::value(step));
        let block = |rows: std::ops::Range<usize>| {
            tasks::arange::delayed(&start, &step, rows.start, rows.len()).expected_bytes(bytes_of(&[rows.len()]))
        };
        let blocks = axes[0].ranges().map(block).collect();
        Ok(Self::from_stored(Stored::new(axes, blocks)))
    }

    /// Random numbers between `low` (included) and `high` (excluded). They depend on `seed` and on their place
    /// only, not on the chunks.
    ///
    /// # Errors
    /// As [`from_array`](Self::from_array), and when the bounds are not finite and in order.
    pub fn random_uniform(seed: u64, low: f64, high: f64, shape: &[usize], chunk_rows: usize) -> Result<Self> {
        if !(low.is_finite() && high.is_finite() && low <= high) {
            let value = format!("{low}..{high}");
            return Err(Error::Parameter { name: "low..high", value, expected: "finite bounds in order" });
        }
        Self::random(seed, Distribution::Uniform { low, high }, shape, chunk_rows)
    }

    /// Normally distributed random numbers. They depend on `seed` and on their place only, not on the chunks.
    ///
    /// # Errors
    /// As [`from_array`](Self::from_array), and when `mean` or `std` is not finite or `std` is negative.
    pub fn random_normal(seed: u64, mean: f64, std: f64, shape: &[usize], chunk_rows: usize) -> Result<Self> {
        if !(mean.is_finite() && std.is_finite() && std >= 0.0) {
            let value = format!("{mean}, {std}");
            return Err(Error::Parameter { name: "mean, std", value, expected: "finite, std 0 or more" });
        }
        Self::random(seed, Distribution::Normal { mean, std }, shape, chunk_rows)
    }

    fn random(seed: u64, distribution: Distribution, shape: &[usize], chunk_rows: usize) -> Result<Self> {
        let axes = axes_of("random", shape, chunk_rows)?;
        let blocks = grid(&axes).map(|(i, j)| {
            let shape = chunk_shape(&axes, i, j);
            let first_panel = axes.first().map_or(0, |rows| rows.first_panel(i));
            let n_bytes = bytes_of(&shape);
            let draw = Draw { seed, distribution, shape, first_panel: (first_panel, 0) };
            tasks::draw::delayed(draw).expected_bytes(n_bytes)
        });
        let blocks = blocks.collect();
        Ok(Self::from_stored(Stored::new(axes, blocks)))
    }

    /// Length of each axis.
    pub fn shape(&self) -> Vec<usize> {
        self.axes().iter().map(Chunks::len).collect()
    }

    /// How many axes.
    pub fn n_axes(&self) -> usize {
        self.expression.axes.len()
    }

    /// Length of the first axis; 1 for a single number.
    pub fn n_rows(&self) -> usize {
        self.axes().first().map_or(1, Chunks::len)
    }

    /// How each axis is cut.
    pub fn axes(&self) -> Vec<Chunks> {
        let mut axes = self.expression.axes.clone();
        if self.transposed {
            axes.reverse();
        }
        axes
    }

    /// How many chunks there are in all.
    pub fn n_chunks(&self) -> usize {
        self.expression.axes.iter().map(Chunks::n_chunks).product()
    }

    /// The chunks as results to build further tasks on, in row-major order of the grid.
    ///
    /// ```
    /// # use phalanx_array::ChunkedArray;
    /// let x = ChunkedArray::zeros(&[1000, 3], 256).unwrap();
    /// assert_eq!(x.blocks().len(), 4);
    /// ```
    pub fn blocks(&self) -> Vec<Delayed<Block>> {
        self.stored().blocks.clone()
    }

    /// The chunks of whole rows, one for each chunk of the first axis: columns cut apart are put together.
    pub fn row_blocks(&self) -> Vec<Delayed<Block>> {
        let axes = self.axes();
        match &axes[..] {
            [rows, cols] if cols.n_chunks() > 1 => self.cut_as(&[rows.clone(), Chunks::single(cols.len())]).blocks(),
            _ => self.blocks(),
        }
    }

    /// Applies a task to every chunk; it must keep the chunk's shape.
    ///
    /// ```
    /// use phalanx_array::{Block, ChunkedArray};
    /// use phalanx_engine::task;
    ///
    /// #[task(name = "example.twice")]
    /// fn twice(block: &Block) -> Block { (block.view().to_owned() * 2.0).into() }
    ///
    /// let x = ChunkedArray::ones(&[1000], 256).unwrap();
    /// let y = x.map_blocks(|block| twice::delayed(block));
    /// assert_eq!(y.shape(), [1000]);
    /// ```
    #[must_use]
    pub fn map_blocks(&self, function: impl FnMut(&Delayed<Block>) -> Delayed<Block>) -> Self {
        let stored = self.stored();
        Self::from_stored(Stored::new(stored.axes.clone(), stored.blocks.iter().map(function).collect()))
    }

    /// The one number of an array that has no more, as a result of its own.
    ///
    /// # Errors
    /// When there are more numbers than one, or none.
    pub fn to_scalar(&self) -> Result<Delayed<f64>> {
        let shape = self.shape();
        if shape.iter().product::<usize>() != 1 {
            let hint = "reduce it first, for example with sum()";
            return Err(Error::Shapes { operation: "to_scalar", left: shape, right: vec![], hint });
        }
        Ok(tasks::scalar::delayed(self.stored().block(0, 0)))
    }

    pub(crate) fn new(axes: Vec<Chunks>, program: Program, inputs: Vec<Arc<Stored>>) -> Self {
        let (stored, stored_transposed) = (OnceLock::new(), OnceLock::new());
        let expression = Expression { axes, program, inputs, stored, stored_transposed };
        Self { expression: Arc::new(expression), transposed: false }
    }

    pub(crate) fn from_stored(stored: Stored) -> Self {
        Self::new(stored.axes.clone(), Program::input(), vec![Arc::new(stored)])
    }

    /// The array that this is the transpose of, or itself.
    pub(crate) fn base(&self) -> Self {
        Self { expression: Arc::clone(&self.expression), transposed: false }
    }

    /// The place in the expression of an axis of the array.
    pub(crate) fn base_axis(&self, axis: usize) -> Result<usize> {
        let n_axes = self.n_axes();
        if axis >= n_axes {
            return Err(Error::NoAxis { axis, n_axes });
        }
        Ok(if self.transposed { 1 - axis } else { axis })
    }

    /// The array's chunks, transposed where that is what it is.
    pub(crate) fn stored(&self) -> Arc<Stored> {
        if !self.transposed {
            return self.expression.stored();
        }
        Arc::clone(self.expression.stored_transposed.get_or_init(|| Arc::new(self.expression.stored().transposed())))
    }

    /// The same array, no longer remembered as a transpose.
    pub(crate) fn settled(&self) -> Self {
        if !self.transposed {
            return self.clone();
        }
        let stored = self.stored();
        Self::new(stored.axes.clone(), Program::input(), vec![stored])
    }

    /// The same array with its axes cut at other places of the same lengths.
    pub(crate) fn cut_as(&self, axes: &[Chunks]) -> Self {
        let mut axes = axes.to_vec();
        if self.transposed {
            axes.reverse();
        }
        if axes == self.expression.axes {
            return self.clone();
        }
        let Expression { program, inputs, .. } = &*self.expression;
        let mut result = if inputs.is_empty() {
            Self::new(axes, program.clone(), Vec::new())
        } else {
            let stored = self.expression.stored();
            let [rows, cols] = stored.dims();
            Self::from_stored(regrid::assemble(&axes, &[Part { stored, rows: 0..rows, cols: 0..cols, at: (0, 0) }]))
        };
        result.transposed = self.transposed;
        result
    }
}

impl Expression {
    pub(crate) fn stored(&self) -> Arc<Stored> {
        Arc::clone(self.stored.get_or_init(|| {
            if self.program.is_input() && self.inputs[0].axes == self.axes {
                return Arc::clone(&self.inputs[0]);
            }
            let program = Delayed::value(self.program.clone());
            let mut shapes = Shared::default();
            let blocks = grid(&self.axes).map(|(i, j)| {
                let shape = chunk_shape(&self.axes, i, j);
                let n_bytes = bytes_of(&shape);
                tasks::evaluate::delayed(&program, shapes.get(shape), self.inputs_of(i, j)).expected_bytes(n_bytes)
            });
            let blocks = blocks.collect();
            Arc::new(Stored::new(self.axes.clone(), blocks))
        }))
    }

    /// The program and inputs that make a chunk: as they are, or the chunk itself where it is described already.
    pub(crate) fn fused(&self) -> Fused<'_> {
        match self.stored.get() {
            Some(stored) => Fused { program: Program::input(), stored: Some(stored), expression: self },
            None => Fused { program: self.program.clone(), stored: None, expression: self },
        }
    }

    /// The inputs of one chunk's program.
    fn inputs_of(&self, i: usize, j: usize) -> Vec<Delayed<Block>> {
        let place = [i, j];
        let of = |stored: &Arc<Stored>| {
            // Axes are matched from the last one; an axis of length one is spread.
            let skipped = self.axes.len() - stored.axes.len();
            let at = |axis: usize| match stored.axes.get(axis) {
                Some(chunks) if *chunks == self.axes[axis + skipped] => place[axis + skipped],
                _ => 0,
            };
            stored.block(at(0), at(1)).clone()
        };
        self.inputs.iter().map(of).collect()
    }
}

/// What a task that takes chunks one by one needs to make them itself.
pub(crate) struct Fused<'a> {
    pub(crate) program: Program,
    stored: Option<&'a Arc<Stored>>,
    expression: &'a Expression,
}

impl Fused<'_> {
    pub(crate) fn inputs_of(&self, i: usize, j: usize) -> Vec<Delayed<Block>> {
        match self.stored {
            Some(stored) => vec![stored.block(i, j).clone()],
            None => self.expression.inputs_of(i, j),
        }
    }
}

impl Stored {
    pub(crate) const fn new(axes: Vec<Chunks>, blocks: Vec<Delayed<Block>>) -> Self {
        Self { axes, blocks, is_read: false }
    }

    pub(crate) fn axes(&self) -> &[Chunks] {
        &self.axes
    }

    /// Rows and columns; a vector is one column.
    pub(crate) fn dims(&self) -> [usize; 2] {
        [0, 1].map(|axis| self.axes.get(axis).map_or(1, Chunks::len))
    }

    pub(crate) fn block(&self, i: usize, j: usize) -> &Delayed<Block> {
        &self.blocks[i * self.axes.get(1).map_or(1, Chunks::n_chunks) + j]
    }

    fn transposed(&self) -> Self {
        let axes: Vec<_> = self.axes.iter().rev().cloned().collect();
        let block = |(i, j)| {
            let n_bytes = bytes_of(&chunk_shape(&axes, i, j));
            tasks::transpose::delayed(self.block(j, i)).expected_bytes(n_bytes)
        };
        let blocks = grid(&axes).map(block).collect();
        Self { axes, blocks, is_read: false }
    }
}

impl Collection for ChunkedArray {
    type Output = ArrayD<f64>;

    fn outputs(&self) -> Vec<AnyDelayed> {
        self.expression.stored().blocks.iter().map(|block| block.any().clone()).collect()
    }

    fn assemble(&self, values: Vec<Value>) -> Result<ArrayD<f64>, DataError> {
        let axes = &self.expression.axes;
        let expected = self.n_chunks();
        if values.len() != expected {
            return Err(broken(format!("{} chunks, expected {expected}", values.len())));
        }
        let mut blocks = Vec::with_capacity(values.len());
        for ((i, j), value) in grid(axes).zip(values) {
            let block = value.take::<Block>()?;
            let shape = chunk_shape(axes, i, j);
            if block.shape() != shape {
                return Err(broken(format!("chunk {i}, {j} has shape {:?}, expected {shape:?}", block.shape())));
            }
            blocks.push(block);
        }
        let mut array = match <[_; 1]>::try_from(blocks) {
            Ok([block]) => Arc::unwrap_or_clone(block).into_array(),
            Err(blocks) => {
                let mut array = ArrayD::zeros(IxDyn(&axes.iter().map(Chunks::len).collect::<Vec<_>>()));
                for ((i, j), block) in grid(axes).zip(blocks) {
                    let places = axes.iter().zip([i, j]).map(|(axis, chunk)| SliceInfoElem::from(axis.range(chunk)));
                    array.slice_mut(&places.collect::<Vec<_>>()[..]).assign(&block.view());
                }
                array
            }
        };
        if self.transposed {
            array = array.reversed_axes();
        }
        Ok(array)
    }

    fn rebuild(&self, outputs: Vec<AnyDelayed>) -> Self {
        let blocks = outputs.into_iter().map(Delayed::from_any).collect();
        let mut rebuilt = Self::from_stored(Stored::new(self.expression.axes.clone(), blocks));
        rebuilt.transposed = self.transposed;
        rebuilt
    }
}

impl fmt::Debug for ChunkedArray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkedArray(shape {:?}, {:?})", self.shape(), self.axes())
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stored({:?})", self.axes)
    }
}

/// Constants of a graph, one for all the calls that share it.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    latest: Vec<(T, Delayed<T>)>,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { latest: Vec::new() }
    }
}

impl<T: Portable + PartialEq + Clone> Shared<T> {
    /// Chunks come in at most four shapes: inner ones, those at either ragged end, and the corner.
    const KEPT: usize = 4;

    pub(crate) fn get(&mut self, value: T) -> Delayed<T> {
        if let Some((_, delayed)) = self.latest.iter().find(|(known, _)| *known == value) {
            return delayed.clone();
        }
        if self.latest.len() == Self::KEPT {
            self.latest.remove(0);
        }
        let delayed = Delayed::value(value.clone());
        self.latest.push((value, delayed.clone()));
        delayed
    }
}

/// The places of a grid's chunks in row-major order.
pub(crate) fn grid(axes: &[Chunks]) -> impl Iterator<Item = (usize, usize)> + use<> {
    let n = |axis: usize| axes.get(axis).map_or(1, Chunks::n_chunks);
    let (n_rows, n_cols) = (n(0), n(1));
    (0..n_rows).flat_map(move |i| (0..n_cols).map(move |j| (i, j)))
}

/// The shape of one chunk.
pub(crate) fn chunk_shape(axes: &[Chunks], i: usize, j: usize) -> Vec<usize> {
    axes.iter().zip([i, j]).map(|(axis, chunk)| axis.range(chunk).len()).collect()
}

pub(crate) fn bytes_of(shape: &[usize]) -> u64 {
    (shape.iter().product::<usize>() * size_of::<f64>()) as u64
}

fn check_axes(operation: &'static str, n_axes: usize) -> Result<()> {
    if n_axes > 2 {
        return Err(Error::Axes { operation, n_axes, hint: "use one or two axes: reshape the data first" });
    }
    Ok(())
}

/// Rows cut into chunks, columns whole.
fn axes_of(operation: &'static str, shape: &[usize], chunk_rows: usize) -> Result<Vec<Chunks>> {
    check_axes(operation, shape.len())?;
    shape
        .iter()
        .enumerate()
        .map(|(axis, len)| if axis == 0 { Chunks::uniform(*len, chunk_rows) } else { Ok(Chunks::single(*len)) })
        .collect()
}

/// Rows in a chunk of about `bytes` bytes for rows of `n_cols` numbers: a whole number of panels, at least one.
///
/// ```
/// assert_eq!(phalanx_array::chunk_rows_for(100, 16 << 20), 20_736); // 81 panels of 100 columns are 16.6 MB
/// ```
pub const fn chunk_rows_for(n_cols: usize, bytes: usize) -> usize {
    let row = if n_cols == 0 { 8 } else { n_cols * 8 };
    let panels = bytes / (row * PANEL);
    PANEL * if panels == 0 { 1 } else { panels }
}
