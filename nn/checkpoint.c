/* A model's variables to and from a safetensors file. Loading has two stages, so that an error leaves every variable
 * as it was: first everything is compared and read to the device, then it is assigned. */
#include <clgrad/formats.h>
#include <clgrad/model.h>
#include <clgrad/op.h>

#include <string.h>

static bool give_elements(void *user, int index, void *out, size_t bytes)
{
    const cg_model *model = user;
    cg_scope scope = cg_scope_local(cg_model_context(model));
    bool done = cg_read(cg_value(cg_model_at(model, index)), out, bytes);
    cg_scope_end(scope);
    return done;
}

bool cg_model_save(const cg_model *model, const char *path)
{
    if (!model) return false;
    cg_context *cg = cg_model_context(model);
    int count = cg_model_count(model);
    cg_safetensors_entry *entries = cg_host_allocate(cg, ((size_t)count + 1) * sizeof *entries);
    if (!entries) return false;
    for (int i = 0; i < count; i++) {
        const cg_variable *variable = cg_model_at(model, i);
        entries[i] = (cg_safetensors_entry){.name = cg_variable_name(variable),
                                            .dtype = cg_variable_dtype(variable),
                                            .shape = cg_variable_shape(variable)};
    }
    bool done = cg_safetensors_write(cg, path, entries, count, give_elements, (void *)model);
    cg_host_free(cg, entries);
    return done;
}

/* Whether the file holds this variable, with its dtype and shape. */
static bool check_variable(const cg_safetensors *file, const char *path, const cg_variable *variable)
{
    cg_context *cg = cg_variable_context(variable);
    const char *name = cg_variable_name(variable);
    const cg_safetensors_entry *entry = cg_safetensors_at(file, cg_safetensors_find(file, name));
    if (!entry) {
        cg_report(cg, CG_ERROR_FILE, "model_load", "%s: tensor \"%s\" is missing", path, name);
        return false;
    }
    if (entry->dtype == cg_variable_dtype(variable) && cg_shapes_equal(entry->shape, cg_variable_shape(variable)))
        return true;
    cg_report(cg, CG_ERROR_FILE, "model_load", "%s: tensor \"%s\" is %s %s, the model's variable %s %s", path, name,
              cg_dtype_name(entry->dtype), cg_shape_text(cg, entry->shape), cg_dtype_name(cg_variable_dtype(variable)),
              cg_shape_text(cg, cg_variable_shape(variable)));
    return false;
}

static bool check_file(const cg_safetensors *file, const char *path, const cg_model *model)
{
    for (int i = 0; i < cg_model_count(model); i++)
        if (!check_variable(file, path, cg_model_at(model, i))) return false;
    for (int i = 0; i < cg_safetensors_count(file); i++) {
        const char *name = cg_safetensors_at(file, i)->name;
        if (cg_model_find(model, name)) continue;
        cg_report(cg_model_context(model), CG_ERROR_FILE, "model_load", "%s: the model has no variable \"%s\"", path,
                  name);
        return false;
    }
    return true;
}

static cg_tensor read_tensor(cg_safetensors *file, const cg_variable *variable)
{
    cg_context *cg = cg_variable_context(variable);
    cg_shape shape = cg_variable_shape(variable);
    cg_dtype dtype = cg_variable_dtype(variable);
    size_t bytes = (size_t)cg_shape_size(shape) * cg_dtype_bytes(dtype);
    void *staging = cg_staging(cg, bytes);
    if (!staging) return (cg_tensor){0};
    if (cg_safetensors_read(file, cg_safetensors_find(file, cg_variable_name(variable)), staging, bytes))
        return cg_input_staged(cg, dtype, shape, staging, CG_OPTIONS(cg_input_options, ));
    cg_staging_return(cg, staging);
    return (cg_tensor){0};
}

static bool load_all(cg_safetensors *file, cg_model *model, cg_tensor *values)
{
    int count = cg_model_count(model);
    for (int i = 0; i < count; i++) {
        values[i] = read_tensor(file, cg_model_at(model, i));
        if (cg_is_null(values[i])) return false;
    }
    bool done = true;
    for (int i = 0; i < count; i++) done = cg_assign(cg_model_at(model, i), values[i]) && done;
    return done;
}

bool cg_model_load(cg_model *model, const char *path)
{
    if (!model) return false;
    cg_context *cg = cg_model_context(model);
    cg_safetensors *file = cg_safetensors_open(cg, path);
    if (!file) return false;
    cg_scope scope = cg_scope_local(cg);
    cg_tensor *values = cg_host_allocate(cg, ((size_t)cg_model_count(model) + 1) * sizeof *values);
    bool done = values && check_file(file, path, model) && load_all(file, model, values);
    cg_host_free(cg, values);
    cg_scope_end(scope);
    cg_safetensors_close(file);
    return done;
}
