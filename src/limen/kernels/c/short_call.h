/* A call of a kernel on a few elements, from Python's side: tensors in, a tensor out, and what has to be known of them asked from here.

   What takes time in such a call is not the arithmetic but Python, and asking each tensor for its type, size and address
   in C takes a third of the time that it takes there. Nothing but Python's own interface is used, so that the
   compiler needs no header of torch's; that tensors answer by descriptors is looked up once, in learn. Called with the GIL
   held. */

#define EXPORT __attribute__((visibility("default")))

/* Gives 0, or 1 where the call has to be made in the general way. */
typedef int short_function(
    const void *x, void *y, float *statistics, int64_t outer, int64_t inner, const float *const *parameters);

#define MOST_PARAMETERS 64

typedef struct {
  short_function *function, *of_logits; /* the latter takes logits in the place of weights; 0 where there are none */
  int64_t limit;                      /* elements from which threads pay */
  Py_ssize_t parameters, weights;     /* how many the formula has, and how many of them are weights */
  int samples;                        /* whether the first axis counts samples to take statistics of */
} short_call;

/* What is called and compared with, kept for as long as the process lives. */
static PyObject *float32, *strided, *tensor_type, *parameter_type, *empty_like;
/* What tensors are asked, as torch.Tensor has it: a look-up by name would take as long as the answer. */
static PyObject *numel, *is_contiguous, *data_ptr, *is_neg; /* methods */
static PyObject *dtype, *layout, *is_cpu, *shape;           /* descriptors of attributes */

static inline PyObject *call(PyObject *method, PyObject *tensor) { return PyObject_Vectorcall(method, &tensor, 1, 0); }

static inline PyObject *get(PyObject *attribute, PyObject *tensor) {
  return Py_TYPE(attribute)->tp_descr_get(attribute, tensor, (PyObject *)Py_TYPE(tensor));
}

/* How many elements there are; -1 with an error set. */
static inline int64_t count(PyObject *tensor) {
  PyObject *found = call(numel, tensor);
  if (!found) return -1;
  const int64_t number = PyLong_AsLongLong(found);
  Py_DECREF(found);
  return number;
}

static inline void *address(PyObject *tensor) {
  PyObject *found = call(data_ptr, tensor);
  if (!found) return 0;
  void *place = PyLong_AsVoidPtr(found);
  Py_DECREF(found);
  return place;
}

/* Whether an answer is this very object; -1 if there is none, with an error set. */
static inline int is(PyObject *answer, PyObject *value) {
  Py_XDECREF(answer);
  return answer ? answer == value : -1;
}

/* Whether a parameter is an ordinary float32 tensor of so many values on the CPU, as they are; -1 with an error set. */
static inline int suits(PyObject *parameter, int64_t values) {
  PyObject *kind = (PyObject *)Py_TYPE(parameter);
  if (kind != tensor_type && kind != parameter_type) return 0;
  int yes = is(get(dtype, parameter), float32);
  if (yes == 1) yes = is(get(is_cpu, parameter), Py_True);
  if (yes == 1) yes = is(call(is_neg, parameter), Py_False);
  if (yes == 1 && values > 1) yes = is(call(is_contiguous, parameter), Py_True);
  if (yes != 1) return yes;
  const int64_t found = count(parameter);
  return found == -1 ? -1 : found == values;
}

/* Where the values of the parameters are: 1, or 0 if some are of another kind, or -1 with an error set. */
static int find(PyObject *parameters, int64_t values_of_first, const float **places) {
  const Py_ssize_t tensors = PySequence_Fast_GET_SIZE(parameters);
  for (Py_ssize_t k = 0; k < tensors; k++) {
    PyObject *one = PySequence_Fast_GET_ITEM(parameters, k);
    const int yes = suits(one, k == 0 ? values_of_first : 1);
    if (yes != 1) return yes;
    places[k] = address(one);
    if (!places[k]) return PyErr_Occurred() ? -1 : 0;
  }
  return 1;
}

/* The kernel for so many tensors, or 0. */
static inline short_function *kernel_for(const short_call *made, Py_ssize_t tensors) {
  if (tensors > MOST_PARAMETERS) return 0;
  if (tensors == made->parameters) return made->function;
  return tensors == made->parameters - made->weights + 1 ? made->of_logits : 0;
}

/* call(x, parameters, statistics) -> y, or None where it has to be done in the general way. */
static PyObject *run(PyObject *self, PyObject *const *arguments, Py_ssize_t given) {
  const short_call *made = PyCapsule_GetPointer(self, 0);
  if (!made) return 0;
  if (given != 3 || !(PyTuple_Check(arguments[1]) || PyList_Check(arguments[1]))) {
    PyErr_SetString(PyExc_TypeError, "a short call takes x, a tuple or list of parameters, and statistics or None");
    return 0;
  }
  PyObject *x = arguments[0], *parameters = arguments[1];
  short_function *kernel = kernel_for(made, PySequence_Fast_GET_SIZE(parameters));
  if (!kernel) Py_RETURN_NONE;
  const int64_t elements = count(x);
  if (elements == -1) return 0;
  if (elements == 0 || elements >= made->limit) Py_RETURN_NONE;
  int yes = is(get(layout, x), strided);
  if (yes == 1) yes = is(call(is_neg, x), Py_False);
  if (yes == 1) yes = is(call(is_contiguous, x), Py_True);
  if (yes == -1) return 0;
  if (yes == 0) Py_RETURN_NONE;
  int64_t outer = 1;
  if (made->samples) {
    PyObject *sizes = get(shape, x);
    if (!sizes) return 0;
    PyObject *first = PyTuple_Check(sizes) && PyTuple_GET_SIZE(sizes) ? PyTuple_GET_ITEM(sizes, 0) : 0;
    outer = first ? PyLong_AsLongLong(first) : 0;
    Py_DECREF(sizes);
    if (PyErr_Occurred()) return 0;
    if (outer < 1) Py_RETURN_NONE;
  }
  const float *places[MOST_PARAMETERS];
  yes = find(parameters, kernel == made->of_logits ? made->weights : 1, places);
  if (yes == -1) return 0;
  if (yes == 0) Py_RETURN_NONE;
  PyObject *y = PyObject_Vectorcall(empty_like, &x, 1, 0);
  const void *from = y ? address(x) : 0;
  void *to = from ? address(y) : 0;
  float *statistics = to && arguments[2] != Py_None ? address(arguments[2]) : 0;
  if (PyErr_Occurred()) Py_CLEAR(y);
  else if (!from || !to || kernel(from, to, statistics, outer, elements / outer, places))
    Py_SETREF(y, Py_NewRef(Py_None));
  return y;
}

static PyMethodDef run_definition = {"short_call", (PyCFunction)(void (*)(void))run, METH_FASTCALL, 0};

static void let_go(PyObject *capsule) { free(PyCapsule_GetPointer(capsule, 0)); }

/* Look up once what every call needs: 0, or -1 with an error set. */
EXPORT int learn(PyObject *dtype_used, PyObject *layout_used, PyObject *tensor, PyObject *parameter, PyObject *maker) {
  struct { PyObject **place; const char *name; int attribute; } asked[] = {
      {&numel, "numel", 0}, {&is_contiguous, "is_contiguous", 0}, {&data_ptr, "data_ptr", 0}, {&is_neg, "is_neg", 0},
      {&dtype, "dtype", 1}, {&layout, "layout", 1}, {&is_cpu, "is_cpu", 1}, {&shape, "shape", 1},
  };
  for (size_t k = 0; k < sizeof asked / sizeof *asked; k++) {
    PyObject *found = PyObject_GetAttrString(tensor, asked[k].name);
    if (!found) return -1;
    if (asked[k].attribute && !Py_TYPE(found)->tp_descr_get) {
      Py_DECREF(found);
      PyErr_Format(PyExc_TypeError, "torch.Tensor.%s is no attribute of its type", asked[k].name);
      return -1;
    }
    *asked[k].place = found;
  }
  float32 = Py_NewRef(dtype_used);
  strided = Py_NewRef(layout_used);
  tensor_type = Py_NewRef(tensor);
  parameter_type = Py_NewRef(parameter);
  empty_like = Py_NewRef(maker);
  return 0;
}

/* A callable for the kernels of one formula; 0 with an error set if there is no memory. */
EXPORT PyObject *short_call_of(
    short_function *function, short_function *of_logits, int64_t limit, Py_ssize_t parameters, Py_ssize_t weights,
    int samples) {
  short_call *made = malloc(sizeof(short_call));
  if (!made) return PyErr_NoMemory();
  *made = (short_call){function, of_logits, limit, parameters, weights, samples};
  PyObject *capsule = PyCapsule_New(made, 0, let_go);
  if (!capsule) {
    free(made);
    return 0;
  }
  PyObject *callable = PyCFunction_NewEx(&run_definition, capsule, 0);
  Py_DECREF(capsule);
  return callable;
}
