// The floor of what needs the database: the bare driver, one prepared statement per operation.
import { serve } from '../support/serve.js';
import { driverServer } from './driver-server.js';

serve(driverServer('one UPDATE'));
