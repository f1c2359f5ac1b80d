/* A call of a kernel on a few elements, from Python's side: tensors in, a tensor out, and what has to be known of them
   asked from here.

   What takes time in such a call is not the arithmetic but Python, and asking each tensor for its type, size and address
   in C takes a third of the time that it takes there. Nothing but Python's stable interface is used, and that is declared
   here: neither Python's header nor torch's is needed, and what is built serves every CPython from 3.10 on. That tensors
   answer by descriptors is looked up once, in learn. Called with the GIL held. */

#include <stdint.h>
#include <stdlib.h>

typedef struct object PyObject;
typedef intptr_t Py_ssize_t;
typedef PyObject *fast_function(PyObject *self, PyObject *const *arguments, Py_ssize_t given);
typedef PyObject *get_function(PyObject *attribute, PyObject *object, PyObject *type);
typedef PyObject *item_function(PyObject *sequence, Py_ssize_t place);
typedef struct { const char *name; fast_function *function; int flags; const char *documentation; } PyMethodDef;

extern PyObject _Py_NoneStruct, _Py_TrueStruct, _Py_FalseStruct, *PyExc_TypeError;
extern void Py_IncRef(PyObject *), Py_DecRef(PyObject *);
extern PyObject *PyObject_Type(PyObject *), *PyErr_Occurred(void), *PyErr_NoMemory(void);
extern unsigned long PyType_GetFlags(PyObject *type);
extern void *PyType_GetSlot(PyObject *type, int slot);
extern PyObject *PyObject_VectorcallDict(PyObject *, PyObject *const *arguments, size_t given, PyObject *named);
extern PyObject *PyObject_GetAttrString(PyObject *, const char *name);
extern Py_ssize_t PyObject_Size(PyObject *);
extern item_function PyTuple_GetItem, PyList_GetItem; /* borrowed */
extern long long PyLong_AsLongLong(PyObject *);
extern void *PyLong_AsVoidPtr(PyObject *);
extern void PyErr_SetString(PyObject *kind, const char *), *PyCapsule_GetPointer(PyObject *, const char *name);
extern PyObject *PyErr_Format(PyObject *kind, const char *, ...);
extern PyObject *PyCapsule_New(void *, const char *name, void (*let_go)(PyObject *));
extern PyObject *PyCFunction_NewEx(PyMethodDef *, PyObject *self, PyObject *module);

#define METH_FASTCALL 0x80
#define LIST (1UL << 25)
#define TUPLE (1UL << 26)
#define GET 54 /* the slot of a type for reading an attribute that its instances describe */

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
typedef struct { PyObject *descriptor; get_function *read; } attribute; /* a method has no use for the latter */
static attribute numel, is_contiguous, data_ptr, is_neg, dtype, layout, is_cpu, shape;

/* An object's type, for as long as the object is there. */
static inline PyObject *type_of(PyObject *object) {
  PyObject *type = PyObject_Type(object);
  Py_DecRef(type);
  return type;
}

static inline unsigned long kind_of(PyObject *object) { return PyType_GetFlags(type_of(object)) & (LIST | TUPLE); }

static inline PyObject *call(attribute method, PyObject *tensor) {
  return PyObject_VectorcallDict(method.descriptor, &tensor, 1, 0);
}

static inline PyObject *get(attribute one, PyObject *tensor) { return one.read(one.descriptor, tensor, 0); }

/* How many elements there are; -1 with an error set. */
static inline int64_t count(PyObject *tensor) {
  PyObject *found = call(numel, tensor);
  if (!found) return -1;
  const int64_t number = PyLong_AsLongLong(found);
  Py_DecRef(found);
  return number;
}

static inline void *address(PyObject *tensor) {
  PyObject *found = call(data_ptr, tensor);
  if (!found) return 0;
  void *place = PyLong_AsVoidPtr(found);
  Py_DecRef(found);
  return place;
}

/* Whether an answer is this very object; -1 if there is none, with an error set. */
static inline int is(PyObject *answer, PyObject *value) {
  if (!answer) return -1;
  Py_DecRef(answer);
  return answer == value;
}

/* Whether a parameter is an ordinary float32 tensor of so many values on the CPU, as they are; -1 with an error set. */
static inline int suits(PyObject *parameter, int64_t values) {
  PyObject *kind = type_of(parameter);
  if (kind != tensor_type && kind != parameter_type) return 0;
  int yes = is(get(dtype, parameter), float32);
  if (yes == 1) yes = is(get(is_cpu, parameter), &_Py_TrueStruct);
  if (yes == 1) yes = is(call(is_neg, parameter), &_Py_FalseStruct);
  if (yes == 1 && values > 1) yes = is(call(is_contiguous, parameter), &_Py_TrueStruct);
  if (yes != 1) return yes;
  const int64_t found = count(parameter);
  return found == -1 ? -1 : found == values;
}

/* Where the values of the parameters are: 1, or 0 if some are of another kind, or -1 with an error set. */
static int find(PyObject *parameters, Py_ssize_t tensors, int64_t values_of_first, const float **places) {
  item_function *item = kind_of(parameters) & LIST ? PyList_GetItem : PyTuple_GetItem;
  for (Py_ssize_t k = 0; k < tensors; k++) {
    PyObject *one = item(parameters, k);
    if (!one) return -1;
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

static PyObject *none(void) {
  Py_IncRef(&_Py_NoneStruct);
  return &_Py_NoneStruct;
}

/* call(x, parameters, statistics) -> y, or None where it has to be done in the general way. */
static PyObject *run(PyObject *self, PyObject *const *arguments, Py_ssize_t given) {
  const short_call *made = PyCapsule_GetPointer(self, 0);
  if (!made) return 0;
  if (given != 3 || !kind_of(arguments[1])) {
    PyErr_SetString(PyExc_TypeError, "a short call takes x, a tuple or list of parameters, and statistics or None");
    return 0;
  }
  PyObject *x = arguments[0], *parameters = arguments[1];
  const Py_ssize_t tensors = PyObject_Size(parameters);
  short_function *kernel = kernel_for(made, tensors);
  if (!kernel) return none();
  const int64_t elements = count(x);
  if (elements == -1) return 0;
  if (elements == 0 || elements >= made->limit) return none();
  int yes = is(get(layout, x), strided);
  if (yes == 1) yes = is(call(is_neg, x), &_Py_FalseStruct);
  if (yes == 1) yes = is(call(is_contiguous, x), &_Py_TrueStruct);
  if (yes == -1) return 0;
  if (yes == 0) return none();
  int64_t outer = 1;
  if (made->samples) {
    PyObject *sizes = get(shape, x);
    if (!sizes) return 0;
    PyObject *first = kind_of(sizes) & TUPLE && PyObject_Size(sizes) ? PyTuple_GetItem(sizes, 0) : 0;
    outer = first ? PyLong_AsLongLong(first) : 0;
    Py_DecRef(sizes);
    if (PyErr_Occurred()) return 0;
    if (outer < 1) return none();
  }
  const float *places[MOST_PARAMETERS];
  yes = find(parameters, tensors, kernel == made->of_logits ? made->weights : 1, places);
  if (yes == -1) return 0;
  if (yes == 0) return none();
  PyObject *y = PyObject_VectorcallDict(empty_like, &x, 1, 0);
  const void *from = y ? address(x) : 0;
  void *to = from ? address(y) : 0;
  float *statistics = to && arguments[2] != &_Py_NoneStruct ? address(arguments[2]) : 0;
  if (!PyErr_Occurred() && from && to && !kernel(from, to, statistics, outer, elements / outer, places)) return y;
  if (y) Py_DecRef(y);
  return PyErr_Occurred() ? 0 : none();
}

static PyMethodDef run_definition = {"short_call", run, METH_FASTCALL, 0};

static void let_go(PyObject *capsule) { free(PyCapsule_GetPointer(capsule, 0)); }

/* Look up once what every call needs: 0, or -1 with an error set. */
EXPORT int learn(PyObject *dtype_used, PyObject *layout_used, PyObject *tensor, PyObject *parameter, PyObject *maker) {
  struct { attribute *one; const char *name; int method; } asked[] = {
      {&numel, "numel", 1}, {&is_contiguous, "is_contiguous", 1}, {&data_ptr, "data_ptr", 1}, {&is_neg, "is_neg", 1},
      {&dtype, "dtype", 0}, {&layout, "layout", 0}, {&is_cpu, "is_cpu", 0}, {&shape, "shape", 0},
  };
  for (size_t k = 0; k < sizeof asked / sizeof *asked; k++) {
    PyObject *found = PyObject_GetAttrString(tensor, asked[k].name);
    if (!found) return -1;
    *asked[k].one = (attribute){found, (get_function *)PyType_GetSlot(type_of(found), GET)};
    if (!asked[k].method && !asked[k].one->read) {
      PyErr_Format(PyExc_TypeError, "torch.Tensor.%s is no attribute of its type", asked[k].name);
      return -1;
    }
  }
  PyObject **kept[] = {&float32, &strided, &tensor_type, &parameter_type, &empty_like};
  PyObject *given[] = {dtype_used, layout_used, tensor, parameter, maker};
  for (size_t k = 0; k < sizeof kept / sizeof *kept; k++) {
    Py_IncRef(given[k]);
    *kept[k] = given[k];
  }
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
  Py_DecRef(capsule);
  return callable;
}
