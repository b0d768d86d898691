int todo_count; /* how a list is kept */
snprintf(a, b, c);
strcpy(cell, "?");
strtok_r(a, b, &c);
