int a; /* TODO: later */
sprintf(a, b);
strcpy (a, b);
int b; /* FIXME */
